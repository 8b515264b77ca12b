"""What is added to the adversarial losses: one module a term, and one table of them."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError
from pydantic_core import InitErrorDetails

from training.terms.base import Heads, Seen, Side, Term, Verdict
from training.terms.classifier import AuxiliaryClassifier
from training.terms.equivariance import Equivariance
from training.terms.gradient_penalty import GradientPenalty
from training.terms.information import CategoricalInformation, ContinuousInformation
from training.terms.invariance import Invariance
from training.terms.zero_centred import R1, R2

TERMS: dict[str, type[Term]] = {
    "categorical_information": CategoricalInformation,
    "classifier": AuxiliaryClassifier,
    "continuous_information": ContinuousInformation,
    "equivariance": Equivariance,
    "gradient_penalty": GradientPenalty,
    "invariance": Invariance,
    "r1": R1,
    "r2": R2,
}
"""Every term by its name in the configuration."""


def _read(terms: object) -> object:
    if not isinstance(terms, Mapping):
        return terms
    for name in terms:
        if name not in TERMS:
            raise ValueError(f"--set terms.{name}: there is no term of this name; there are {', '.join(TERMS)}")
    return {name: _term(name, value) for name, value in terms.items()}


def _term(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    try:
        return TERMS[name].model_validate(value)
    except ValidationError as error:  # it names settings of the term, without the term
        details = [
            InitErrorDetails(type=one["type"], loc=(name, *one["loc"]), input=one["input"], ctx=one.get("ctx", {}))
            for one in error.errors()
        ]
        raise ValidationError.from_exception_data("terms", details) from error


Terms = Annotated[dict[str, SerializeAsAny[Term]], BeforeValidator(_read)]
"""A setting that holds terms of the table by name."""

__all__ = ["TERMS", "Heads", "Seen", "Side", "Term", "Terms", "Verdict"]
