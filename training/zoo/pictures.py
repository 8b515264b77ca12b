"""The pictures of the zoo's page: a row of samples for each entry, and the curves of their validation figure."""

import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw

from training import seeds
from training.config.gan import GanConfig
from training.engine import load_run
from training.grids import INK, enlarged_grid, font, to_uint8
from training.zoo.results import Result

_SAMPLES = 16  # in a row
_WIDTH, _HEIGHT, _LEFT, _MARGIN = 900, 420, 70, 30  # of the curves, in pixels
_PAPER, _LINES = (255, 255, 255), (225, 225, 225)
_COLOURS = ("#2166ac", "#b2182b", "#1b7837", "#e08214", "#762a83", "#8c510a", "#01665e", "#c51b7d")


@torch.inference_mode()
def samples(results: Sequence[Result]) -> Image.Image:
    """A row for each entry, made by its first seed's run, of the same latents; with labels, of the classes in turn."""
    rows, names = [], []
    for result in results:
        if not result.places:
            continue
        run = load_run(result.places[0])
        config = run.config
        assert isinstance(config, GanConfig)
        source = seeds.random_source(0, "zoo")
        latents = torch.randn(_SAMPLES, config.latent_size, generator=source)
        labels = torch.arange(_SAMPLES) % max(1, len(run.data.class_names))
        vector = config.condition.vector(config.condition.draw({"labels": labels}, _SAMPLES, source), run.data)
        rows.append(to_uint8(run.generator(latents, vector)))
        names.append(result.entry.name)
    return enlarged_grid(torch.cat(rows), _SAMPLES, rows=names)


def curves(results: Sequence[Result]) -> Image.Image:
    """The validation figure over the share of the run, the mean of the seeds, on a logarithmic scale; the best rows.

    As many rows as there are colours.
    """
    shown = [(result.entry.name, _mean(result)) for result in results if result.curves][: len(_COLOURS)]
    heights = [math.log10(max(value, 1e-6)) for _, curve in shown for _, value in curve]
    low, high = math.floor(min(heights)), math.ceil(max(heights))
    sheet = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    pen = ImageDraw.Draw(sheet)
    right, bottom = _WIDTH - _MARGIN - 170, _HEIGHT - _MARGIN

    def placed(share: float, value: float) -> tuple[float, float]:
        height = (math.log10(max(value, 1e-6)) - low) / (high - low)
        return _LEFT + share * (right - _LEFT), bottom - height * (bottom - _MARGIN)

    for power in range(low, high + 1):
        (x, y), (end, _) = placed(0, 10**power), placed(1, 10**power)
        pen.line([(x, y), (end, y)], _LINES)
        pen.text((x - 8, y), f"{10**power:g}", (INK,) * 3, font(), anchor="rm")
    pen.text(((_LEFT + right) / 2, bottom + 4), "share of the run", (INK,) * 3, font(), anchor="ma")
    for number, ((name, curve), colour) in enumerate(zip(shown, _COLOURS, strict=False)):
        pen.line([placed(share, value) for share, value in curve], colour, width=2)
        pen.text((right + 14, _MARGIN + 22 * number), name, colour, font())
    return sheet


def _mean(result: Result) -> list[tuple[float, float]]:
    """At each tick the mean over the seeds."""
    last = result.curves[0][-1][0]
    ticks = zip(*result.curves, strict=False)
    return [(tick[0][0] / last, sum(value for _, value in tick) / len(tick)) for tick in ticks]
