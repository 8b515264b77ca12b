"""The best that a discriminator can do, found by optimising its outputs themselves."""

from collections.abc import Callable

import torch
from torch import Tensor


def best_outputs(
    loss_of: Callable[[Tensor, Tensor], Tensor], real: Tensor, fake: Tensor, outcomes: tuple[int, ...] = ()
) -> tuple[Tensor, float]:
    """The outputs on each image of the discriminator with the least loss, and that loss.

    Args:
        loss_of: (real outputs, fake outputs) → a discriminator's loss.
        real: How often each image is among the real ones.
        fake: How often each is among the samples.
        outcomes: The shape of an image's output.
    """
    outputs = torch.zeros(len(real), *outcomes, requires_grad=True)
    optimizer = torch.optim.LBFGS([outputs], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = loss_of(outputs.repeat_interleave(real, 0), outputs.repeat_interleave(fake, 0))
        value.backward()
        return value

    optimizer.step(loss)
    return outputs.detach(), loss().item()
