"""An auxiliary classifier that helps the label through (AC-GAN; Odena et al., 2017, arXiv:1610.09585)."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from training.data import DatasetInfo
from training.terms.base import Seen, Term, Verdict

_HEAD = "classifier"


class AuxiliaryClassifier(Term):
    """The cross-entropy of the class, in nats."""

    needs: ClassVar[frozenset[str]] = frozenset({"label"})
    needs_known: ClassVar[frozenset[str]] = frozenset({"labels"})
    provides: ClassVar[frozenset[str]] = frozenset({"label input", "classifier"})

    samples: bool = False
    """Whether the discriminator learns it from samples too, as in the paper (eq. 3); from real images alone it does not
    learn the generator's mistakes."""

    def heads(self, features: int, info: DatasetInfo, latent_size: int) -> dict[str, nn.Module]:  # noqa: ARG002
        """Logits of the classes, [B, classes]."""
        return {_HEAD: nn.Linear(features, len(info.class_names))}

    def value(self, seen: Seen) -> Tensor:
        """Of samples in the generator's phase; of real images in the discriminator's, and of samples where asked."""
        labels = seen.draws["labels"]
        value = _cross_entropy(seen.of_known, labels)
        return value + _cross_entropy(seen.of_fake, labels) if self.samples and seen.side == "discriminator" else value


def _cross_entropy(verdict: Verdict, labels: Tensor) -> Tensor:
    return functional.cross_entropy(verdict.heads[_HEAD].float(), labels)
