"""An auxiliary classifier that helps the label through (AC-GAN; Odena et al., 2017, arXiv:1610.09585).

Unlike there, the discriminator learns it from real images only, and so not the generator's mistakes.
"""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from training.data import DatasetInfo
from training.terms.base import Seen, Term

_HEAD = "classifier"


class AuxiliaryClassifier(Term):
    """The cross-entropy of the class, in nats."""

    needs: ClassVar[frozenset[str]] = frozenset({"label"})
    needs_known: ClassVar[frozenset[str]] = frozenset({"labels"})
    provides: ClassVar[frozenset[str]] = frozenset({"label input", "classifier"})

    def heads(self, features: int, info: DatasetInfo, latent_size: int) -> dict[str, nn.Module]:  # noqa: ARG002
        """Logits of the classes, [B, classes]."""
        return {_HEAD: nn.Linear(features, len(info.class_names))}

    def value(self, seen: Seen) -> Tensor:
        """Of the real images in the discriminator's phase, of the samples in the generator's."""
        return functional.cross_entropy(seen.of_known.heads[_HEAD].float(), seen.draws["labels"])
