"""A regressor that helps attributes through, as an auxiliary classifier does with labels.

The discriminator learns it from real images only, and so not the generator's mistakes.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from training.data import DatasetInfo
from training.terms.base import Seen, Term

_HEAD = "attributes"


class AttributeRegressor(Term):
    """The mean squared error of the attributes."""

    needs: ClassVar[frozenset[str]] = frozenset({"attributes"})
    needs_known: ClassVar[frozenset[str]] = frozenset({"attributes"})
    provides: ClassVar[frozenset[str]] = frozenset({"attribute input", "regressor"})

    weight: Annotated[float, Field(ge=0, le=100)] = 1

    def heads(self, features: int, info: DatasetInfo, latent_size: int) -> dict[str, nn.Module]:  # noqa: ARG002
        """A guess of each attribute, [B, attributes]."""
        return {_HEAD: nn.Linear(features, len(info.attribute_meanings))}

    def value(self, seen: Seen) -> Tensor:
        """Of the real images in the discriminator's phase, of the samples in the generator's."""
        return functional.mse_loss(seen.of_known.heads[_HEAD].float(), seen.draws["attributes"])
