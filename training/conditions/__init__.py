"""What a generator is given beside its latent: nothing, a label, attributes, or codes whose meaning it learns.

A condition says how it is drawn, fed to the nets, shown at a tick, and described in a model card.
"""

from typing import Annotated

from pydantic import Field

from training.conditions.attributes import AttributesCondition
from training.conditions.base import Condition, Draws, Showcase
from training.conditions.codes import CodesCondition
from training.conditions.label import LabelCondition
from training.conditions.none import NoCondition

AnyCondition = Annotated[
    NoCondition | LabelCondition | AttributesCondition | CodesCondition, Field(discriminator="kind")
]
"""Every condition, told apart by its `kind`."""

__all__ = [
    "AnyCondition",
    "AttributesCondition",
    "CodesCondition",
    "Condition",
    "Draws",
    "LabelCondition",
    "NoCondition",
    "Showcase",
]
