"""The losses of both players under each adversarial objective.

`real` and `fake` are the discriminator's raw outputs ("logits", any shape); a higher output means more likely real, but
under the one objective whose outputs are several numbers an image.
Every loss is a float32 scalar, whatever the precision of its inputs, since sums of half-precision numbers drift.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional

from training.objectives.divergences import DIVERGENCES
from training.objectives.realness import expected_realness, skewed_anchors


def _output_itself(outputs: Tensor) -> Tensor:
    return outputs


@dataclass(frozen=True)
class Objective:
    """What each player minimises.

    Attributes:
        discriminator: (real outputs, fake outputs) → its loss.
        generator: (real outputs, fake outputs) → its loss. The real ones are None unless it `shows_real`.
        line: What it is, in one line.
        paper: Where it is from.
        shows_real: Whether the generator's loss looks at real images too, as relativistic ones do.
        output: What an output is: the logit of being real, or the value of a critic.
        outcomes: Numbers in the output for an image, or "classes" where it has one for each class of the data; the
            losses take [B], or [B, outcomes] where there are several.
        realness: From outputs to one number an image, higher where it is more likely real; what is reported.
        needs: What the discriminator must provide; see `training.config.compatibility`.
        provides: What terms may need, or not bear.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    line: str
    paper: str
    shows_real: bool = False
    output: Literal["logit", "critic"] = "logit"
    outcomes: int | Literal["classes"] = 1
    realness: Callable[[Tensor], Tensor] = _output_itself
    needs: frozenset[str] = frozenset()
    provides: frozenset[str] = frozenset()


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's binary cross-entropy, −log σ(real) − log(1 − σ(fake)); Goodfellow et al., 2014, eq. 1."""
    return functional.softplus(-real.float()).mean() + functional.softplus(fake.float()).mean()


def non_saturating(_real: Tensor | None, fake: Tensor) -> Tensor:
    """The generator's −log σ(fake), whose gradient does not vanish early on; Goodfellow et al., 2014, section 3."""
    return functional.softplus(-fake.float()).mean()


def saturating(_real: Tensor | None, fake: Tensor) -> Tensor:
    """The generator's log(1 − σ(fake)), the other's loss with its sign changed; Goodfellow et al., 2014, eq. 1."""
    return -functional.softplus(fake.float()).mean()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's max(0, 1 − real) + max(0, 1 + fake); Lim & Ye, 2017, arXiv:1705.02894."""
    return functional.relu(1 - real.float()).mean() + functional.relu(1 + fake.float()).mean()


def negative_mean(_real: Tensor | None, fake: Tensor) -> Tensor:
    """The generator's −fake, which goes with `hinge`, `energy` and `wasserstein`."""
    return -fake.float().mean()


def least_squares(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's ½(real − 1)² + ½ fake²; Mao et al., 2017, arXiv:1611.04076, eq. 9."""
    return 0.5 * (real.float() - 1).square().mean() + 0.5 * fake.float().square().mean()


def least_squares_generator(_real: Tensor | None, fake: Tensor) -> Tensor:
    """The generator's ½(fake − 1)², which goes with `least_squares`."""
    return 0.5 * (fake.float() - 1).square().mean()


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """The critic's fake − real, whose negative least value is the Wasserstein-1 distance; Arjovsky et al., 2017."""
    return fake.float().mean() - real.float().mean()


def relativistic(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's −log σ(real − fake), of pairs; Jolicoeur-Martineau, 2018, arXiv:1807.00734, RpGAN."""
    return functional.softplus(fake.float() - real.float()).mean()


def relativistic_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    """The generator's −log σ(fake − real), which goes with `relativistic`."""
    assert real is not None
    return functional.softplus(real.float() - fake.float()).mean()


def energy(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's −real + max(0, 1 + fake); Zhao et al., 2016, arXiv:1609.03126, eq. 1, over its margin.

    Scores are −energy / margin, so that samples cost nothing from the margin's energy on.
    """
    return functional.relu(1 + fake.float()).mean() - real.float().mean()


def logit_of_any_class(outputs: Tensor) -> Tensor:
    """The logit of being of any class, log Σ exp(output) = log Z, of outputs [B, classes].

    Salimans et al., 2016, arXiv:1606.03498, section 5: a sample's own output is 0, so that D(x) = Z / (Z + 1).
    """
    return outputs.float().logsumexp(-1)


_CROSS_ENTROPY = frozenset({"cross entropy"})
_REALNESS = skewed_anchors(outcomes=10)

OBJECTIVES = {
    "minimax": Objective(
        cross_entropy,
        saturating,
        "The original game, whose generator's gradient vanishes where the discriminator is sure",
        "Goodfellow et al., 2014, arXiv:1406.2661",
        provides=_CROSS_ENTROPY,
    ),
    "non_saturating": Objective(
        cross_entropy,
        non_saturating,
        "Cross-entropy, with a generator's loss whose gradient does not vanish",
        "Goodfellow et al., 2014, arXiv:1406.2661",
        provides=_CROSS_ENTROPY,
    ),
    "hinge": Objective(
        hinge, negative_mean, "Scores that count no more once they are beyond ±1", "Lim & Ye, 2017, arXiv:1705.02894"
    ),
    "least_squares": Objective(
        least_squares,
        least_squares_generator,
        "Squared distances of scores from 1 and 0",
        "Mao et al., 2017, arXiv:1611.04076",
    ),
    "wasserstein": Objective(
        wasserstein,
        negative_mean,
        "A critic's bound on the Wasserstein-1 distance, under clipping, a penalty or spectral norms",
        "Arjovsky et al., 2017, arXiv:1701.07875",
        output="critic",
        needs=frozenset({"lipschitz"}),
    ),
    "relativistic": Objective(
        relativistic,
        relativistic_generator,
        "Pairs of a real image and a sample, of which one is to be the more real; R3GAN's with r1 and r2",
        "Huang et al., 2024, arXiv:2501.05441",
        shows_real=True,
    ),
    "energy": Objective(
        energy,
        negative_mean,
        "The error of an autoencoder, up to a margin",
        "Zhao et al., 2016, arXiv:1609.03126",
        output="critic",
        needs=frozenset({"energy"}),
    ),
    "realness": Objective(
        _REALNESS.discriminator,
        _REALNESS.generator,
        "A distribution over degrees of realness in place of one score",
        "Xiangli et al., 2020, arXiv:2002.05512",
        shows_real=True,
        outcomes=len(_REALNESS.real),
        realness=expected_realness,
        provides=frozenset({"several outcomes"}),
    ),
    "classes": Objective(
        lambda real, fake: cross_entropy(logit_of_any_class(real), logit_of_any_class(fake)),
        lambda _, fake: non_saturating(None, logit_of_any_class(fake)),
        "A classifier with one class more, for samples: learns from a few labelled images and many without",
        "Salimans et al., 2016, arXiv:1606.03498",
        outcomes="classes",
        realness=logit_of_any_class,
        needs=frozenset({"labelled images"}),
        provides=frozenset({"several outcomes", "class logits"}),
    ),
    **{
        name: Objective(
            divergence.discriminator,
            divergence.generator,
            f"f-GAN's bound on the divergence {name}, by its convex conjugate",
            "Nowozin et al., 2016, arXiv:1606.00709",
            output="critic",
        )
        for name, divergence in DIVERGENCES.items()
    },
}
"""Every objective by its name in the configuration."""
