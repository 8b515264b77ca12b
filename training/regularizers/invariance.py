"""Invariant information clustering (Ji et al., 2019, arXiv:1807.06653): guesses that survive small deformations.

Without labels it draws the categorical codes of an InfoGAN towards what a picture shows, instead of how it is drawn;
that is left to the continuous codes. Elastic-InfoGAN (Ojha et al., 2020, arXiv:1910.01112) has the same aim.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Deformation(NamedTuple):
    """The most that an image is deformed by, each drawn uniformly.

    Attributes:
        rotation: In degrees, either way.
        scale: Share by which it grows or shrinks.
        shear: Horizontal shift per height, either way.
        shift: Share of its side that it is moved by, in each direction.
    """

    rotation: float = 15.0
    scale: float = 0.2
    shear: float = 0.3
    shift: float = 0.1


_DEFAULT = Deformation()


def deformed(images: Tensor, random: Tensor, most: Deformation = _DEFAULT) -> Tensor:
    """Deforms each image in its own way.

    Args:
        images: float32 [B, C, H, W].
        random: float32 [B, 5], uniform on [-1, 1]: rotation, scale, shear, and shift right and down.
        most: What 1 means.

    Returns:
        Of the same shape; its border is repeated where a deformation leaves a gap.
    """
    angle = random[:, 0] * math.radians(most.rotation)
    scale = 1 + random[:, 1] * most.scale
    shear, right, down = random[:, 2] * most.shear, random[:, 3] * 2 * most.shift, random[:, 4] * 2 * most.shift
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    rows = [
        torch.stack([cosine, shear * cosine - sine, right], dim=1),
        torch.stack([sine, shear * sine + cosine, down], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


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
    joint = ((joint + joint.T) / 2).clamp_min(1e-8)
    rows, columns = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
    return (joint * (balance * (rows.log() + columns.log()) - joint.log())).sum()
