"""Sweeps of one number of a condition: what is measured along them, and what they look like."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from training import distributed
from training.evaluation.sample import Sampler
from training.grids import enlarged_grid

SWEEPS = 500  # over which a figure is the mean; each has its own noise and the rest of a condition of its own
STOPS = 21  # of such a sweep, from -1 to 1
SHOWN_STOPS = 9  # columns of a traversal


def measured_sweeps(
    sampler: Sampler, name: str, measure: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
) -> Iterator[Tensor]:
    """Sweeps each number of what is drawn under a name, in turn, and measures the pictures.

    Args:
        sampler: What makes them.
        name: Of draws, float32 [N, numbers].
        measure: From images, uint8 [N, C, H, W], and their draws to measures [N, M].

    Yields:
        [SWEEPS, STOPS, M] for each number.
    """
    source = torch.Generator().manual_seed(1)
    latents = sampler.latents(SWEEPS, source).repeat_interleave(STOPS, dim=0)
    drawn = sampler.conditions(SWEEPS, 0, source)
    draws = {each: values.repeat_interleave(STOPS, dim=0) for each, values in drawn.items()}
    distributed.say(f"sweeping each of {draws[name].shape[1]} numbers, {SWEEPS * STOPS:,} samples…")
    for number in range(draws[name].shape[1]):
        swept = {**draws, name: _swept(draws[name], number, STOPS)}
        yield measure(sampler.make(latents, swept), swept).unflatten(0, (SWEEPS, STOPS))


def traversal(
    sampler: Sampler, draws: Mapping[str, Tensor], name: str, number: int, titles: Sequence[str]
) -> Image.Image:
    """What a number of the draws of a name does to one latent, to be looked at: a column is a stop.

    Args:
        sampler: What makes the pictures.
        draws: The condition of each row.
        name: As of `measured_sweeps`.
        number: Which is swept.
        titles: Of the rows.
    """
    latent = sampler.latents(1, torch.Generator().manual_seed(2))
    repeated = {each: values.repeat_interleave(SHOWN_STOPS, dim=0) for each, values in draws.items()}
    swept = {**repeated, name: _swept(repeated[name], number, SHOWN_STOPS)}
    images = sampler.make(latent.expand(len(titles) * SHOWN_STOPS, -1), swept)
    heads = [f"{stop:g}" for stop in torch.linspace(-1, 1, SHOWN_STOPS).tolist()]
    return enlarged_grid(images, SHOWN_STOPS, rows=titles, heads=heads)


def _swept(values: Tensor, number: int, stops: int) -> Tensor:
    """Draws [N, numbers] in which a number goes from -1 to 1, in so many rows, again and again."""
    swept = values.clone()
    swept[:, number] = torch.linspace(-1, 1, stops).repeat(len(values) // stops)
    return swept
