"""What is added to the adversarial losses: one module a term, and one table of them."""

from typing import Annotated

from pydantic import BeforeValidator, SerializeAsAny

from training.config.tables import read_parts
from training.terms.attributes import AttributeRegressor
from training.terms.base import Heads, Seen, Side, Term, Verdict
from training.terms.classifier import AuxiliaryClassifier
from training.terms.equivariance import Equivariance
from training.terms.feature_matching import FeatureMatching
from training.terms.gradient_penalty import GradientPenalty
from training.terms.information import CategoricalInformation, ContinuousInformation
from training.terms.invariance import Invariance
from training.terms.label_smoothing import LabelSmoothing
from training.terms.labelled import Labelled
from training.terms.latent_regression import LatentRegression
from training.terms.orthogonal import Orthogonal
from training.terms.pulling_away import PullingAway
from training.terms.zero_centred import R1, R2

TERMS: dict[str, type[Term]] = {
    "attributes": AttributeRegressor,
    "categorical_information": CategoricalInformation,
    "classifier": AuxiliaryClassifier,
    "continuous_information": ContinuousInformation,
    "equivariance": Equivariance,
    "feature_matching": FeatureMatching,
    "gradient_penalty": GradientPenalty,
    "invariance": Invariance,
    "latent_regression": LatentRegression,
    "label_smoothing": LabelSmoothing,
    "orthogonal": Orthogonal,
    "pulling_away": PullingAway,
    "labelled": Labelled,
    "r1": R1,
    "r2": R2,
}
"""Every term by its name in the configuration."""


Terms = Annotated[dict[str, SerializeAsAny[Term]], BeforeValidator(lambda given: read_parts(given, TERMS, "terms"))]
"""A setting that holds terms of the table by name."""

__all__ = ["TERMS", "Heads", "Seen", "Side", "Term", "Terms", "Verdict"]
