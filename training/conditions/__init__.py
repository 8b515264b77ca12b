"""What a generator is given beside its latent: nothing, a label, or codes that it learns the meaning of.

A condition says how it is drawn, fed to the nets, shown at a tick, and described in a model card.
"""

from typing import Annotated

from pydantic import Field

from training.conditions.base import Condition, Draws, Showcase
from training.conditions.codes import CodesCondition
from training.conditions.label import LabelCondition
from training.conditions.none import NoCondition

AnyCondition = Annotated[NoCondition | LabelCondition | CodesCondition, Field(discriminator="kind")]
"""Every condition, told apart by its `kind`."""

__all__ = ["AnyCondition", "CodesCondition", "Condition", "Draws", "LabelCondition", "NoCondition", "Showcase"]
