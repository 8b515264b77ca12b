"""Invariant information clustering (Ji et al., 2019, arXiv:1807.06653): guesses that survive small deformations.

Without labels it draws the categorical codes of an InfoGAN towards what a picture shows, instead of how it is drawn;
that is left to the continuous codes. Elastic-InfoGAN (Ojha et al., 2020, arXiv:1910.01112) has the same aim.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from training import distributed
from training.conditions.codes import HEAD
from training.terms.base import Seen
from training.terms.deformation import VIEW, DeformationTerm


def invariance_loss(logits: Tensor, logits_deformed: Tensor, balance: float = 1.0) -> Tensor:
    """-I(k; k') in nats, of the guesses for images and for their deformations (eq. 3 of the paper).

    Args:
        logits: float [B, values].
        logits_deformed: float [B, values], row by row of the same images.
        balance: Weight of the entropies of k and k' in I = H(k) + H(k') - H(k, k'); above 1 it is harder for two
            kinds of image to share a value.

    Returns:
        A float32 scalar, with a balance of 1 in [-log values, 0]; the least where every guess is certain, survives the
        deformation, and all values are equally frequent.
    """
    first, second = functional.softmax(logits.float(), 1), functional.softmax(logits_deformed.float(), 1)
    joint = (first[:, :, None] * second[:, None, :]).mean(0)  # no product of matrices: autocast would make it bfloat16
    joint = distributed.mean(joint)  # of the whole batch, as the rest is no mean over its items
    joint = ((joint + joint.T) / 2).clamp_min(1e-8)
    rows, columns = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
    return (joint * (balance * (rows.log() + columns.log()) - joint.log())).sum()


class Invariance(DeformationTerm):
    """Draws the categorical codes towards what an image shows."""

    needs: ClassVar[frozenset[str]] = frozenset({"categorical codes"})

    weight: Annotated[float, Field(ge=0, le=100)] = 2

    balance: Annotated[float, Field(ge=1, le=10)] = 2
    """How strongly it wants all values equally frequent; 1 is plain mutual information."""

    def value(self, seen: Seen) -> Tensor:
        """The sum over all categorical codes."""
        assert seen.of_real is not None
        pairs = zip(seen.of_real.heads[HEAD].categorical, seen.views[VIEW].heads[HEAD].categorical, strict=True)
        return torch.stack([invariance_loss(first, second, self.balance) for first, second in pairs]).sum()
