"""f-divergences as adversarial objectives (f-GAN; Nowozin et al., 2016, arXiv:1606.00709).

A convex f with f(1) = 0 gives the divergence D_f(p ‖ q) = Σ q f(p / q). Its conjugate f*(t) = sup_u (u t − f(u)) bounds
it from below by E_p[t] − E_q[f*(t)], for any function t of an image. The discriminator makes that bound tight: its raw
score v becomes t = g(v), where the activation g increases and maps into the domain of f*. The generator raises
E_q[g(v)] (section 3.2 there: the bound itself gives it no slope early on).

Activations are those of the paper's tables 2 and 6, with −v where those would decrease, so that a higher score means
more likely real here too. The conjugate is a function of v, since many are simpler and more exact together.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# Beyond it exponentials go on as straight lines: no score of a batch makes a loss infinite.
_STRAIGHT_FROM = 20.0
# Of Newton's method for Lambert's W, which doubles the digits with each.
_NEWTON_STEPS = 8


class Divergence(NamedTuple):
    """An f-divergence by what training needs of it.

    Attributes:
        activation: g, from raw scores v to values in the domain of f*.
        conjugate: v → f*(g(v)).
    """

    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """E_q[f*(g(v))] − E_p[g(v)], eq. 4: the negative of the bound, a float32 scalar."""
        return self.conjugate(fake.float()).mean() - self.activation(real.float()).mean()

    def generator(self, _real: Tensor | None, fake: Tensor) -> Tensor:
        """−E_q[g(v)], a float32 scalar; section 3.2."""
        return -self.activation(fake.float()).mean()


def _identity(scores: Tensor) -> Tensor:
    return scores


def _exp(exponents: Tensor) -> Tensor:
    """The exponential, beyond `_STRAIGHT_FROM` its tangent there."""
    return exponents.clamp(max=_STRAIGHT_FROM).exp() * (1 + functional.relu(exponents - _STRAIGHT_FROM))


def _log_lambert(values: Tensor) -> Tensor:
    """Log W(exp(s)), the y of eʸ + y = s, by Newton's method; its slope is 1 / (1 + W)."""
    with torch.no_grad():
        # Close to the root on both sides: y ≈ s where s is low, log s where it is high.
        root = torch.where(values > 1, values.clamp(min=1).log(), values)
        for _ in range(_NEWTON_STEPS):
            root = root - (root.exp() + root - values) / (root.exp() + 1)
    return root - (root.exp() + root - values) / (root.exp() + 1)


def _jeffreys_conjugate(scores: Tensor) -> Tensor:
    """W + 1 / W + t − 2 where W = W(exp(1 − t)) and t = v."""
    root = _log_lambert(1 - scores)
    return root.exp() + _exp(-root) + scores - 2


DIVERGENCES = {
    "kl": Divergence(_identity, lambda scores: _exp(scores - 1)),
    "reverse_kl": Divergence(lambda scores: -_exp(-scores), lambda scores: scores - 1),
    "pearson_chi2": Divergence(_identity, lambda scores: scores.square() / 4 + scores),
    "neyman_chi2": Divergence(lambda scores: 1 - _exp(-scores), lambda scores: 2 - 2 * _exp(-scores / 2)),
    "squared_hellinger": Divergence(lambda scores: 1 - _exp(-scores), lambda scores: _exp(scores) - 1),
    "jensen_shannon": Divergence(
        lambda scores: math.log(2) - functional.softplus(-scores),
        lambda scores: functional.softplus(scores) - math.log(2),
    ),
    "jeffreys": Divergence(_identity, _jeffreys_conjugate),
    "total_variation": Divergence(lambda scores: scores.tanh() / 2, lambda scores: scores.tanh() / 2),
    "bhattacharyya": Divergence(lambda scores: -_exp(-scores), lambda scores: _exp(scores) / 4 - 1),
    "gan": Divergence(lambda scores: -functional.softplus(-scores), functional.softplus),
}
"""Each by its name; of "bhattacharyya" f is 1 − √u, so that the divergence is one less Bhattacharyya's coefficient, and
"gan" is the original objective, −log 4 and twice the Jensen–Shannon divergence."""
