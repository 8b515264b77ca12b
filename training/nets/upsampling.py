"""How maps become twice as high and wide without checkerboards."""

from typing import Literal

from torch import nn

Upsampling = Literal["transposed", "resize"]
"""A transposed convolution, or a resize-convolution."""


def resized(before: int, after: int, *, bias: bool) -> list[nn.Module]:
    """The layers of a resize-convolution: nearest-neighbour enlargement, then a 3x3 convolution.

    Every place of the result has as many neighbours that add to it as any other; under a transposed convolution it does
    not (Odena et al., 2016, "Deconvolution and checkerboard artifacts", doi:10.23915/distill.00003).

    Args:
        before: Channels that come in.
        after: Channels that leave.
        bias: Whether the convolution has one.
    """
    return [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(before, after, 3, padding=1, bias=bias)]
