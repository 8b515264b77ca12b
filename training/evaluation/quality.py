"""Cheap quality figures for every tick: how near a generator's pictures are to the validation split.

Features are those of a convolutional net with fixed random weights, which needs no training and fits any pictures: it
ranks half-trained, noisy, blurred and collapsed generators as the eye does, where plain pixels miss blur. The figure
compares checkpoints of one data set, and says nothing across data sets. `gantry evaluate` measures in better features.
Where translations have targets, their L1 comes first: a translation may be a good picture of another thing.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training import seeds
from training.config.gan import GanConfig
from training.data import PairedDataset
from training.evaluation.directions import translate, ways_of
from training.evaluation.features import resized
from training.evaluation.metrics import kernel_distance
from training.evaluation.sample import Sampler
from training.grids import to_uint8

QUALITY = "kernel_distance_random_convolutions"  # lower is better, and 0 what real pictures have in the mean
DIFFERENCE = "l1"  # of intensities in 0 to 1, where there are targets

_MADE, _REAL, _TRANSLATED = 500, 1_000, 32  # pictures
_LARGEST = 64  # larger pictures are averaged down to it
_FEWEST = 2  # that an unbiased distance is taken of
_WIDTHS = (32, 64, 128)


def validation_quality(config: Any, validation: Any, device: torch.device) -> Callable[[nn.Module], dict[str, float]]:
    """Prepares the figures: the real side, the validation split, is looked at once.

    Returns:
        A function of the generator, on `device`, that gives the figures by their names; the same pictures are made
        each time; no figure where the split has less than two pictures. It leaves the generator's mode as it was.
    """
    is_gan = isinstance(config, GanConfig)
    if min(map(len, (validation,) if is_gan else (validation.a, validation.b))) < _FEWEST:
        return lambda _: {}
    measure = (_samples if is_gan else _translations)(config, validation, device)

    def quality(generator: nn.Module) -> dict[str, float]:
        was_training = generator.training
        figures = measure(generator.eval())
        generator.train(was_training)
        return figures

    return quality


@torch.inference_mode()
def random_features(images: Tensor) -> Tensor:
    """Features [N, 512] of images, uint8 [N, C, H, W], by fixed random weights (He et al. 2015 scale)."""
    maps = images.float() / 127.5 - 1
    while max(maps.shape[2:]) > _LARGEST:
        maps = functional.avg_pool2d(maps, 2, ceil_mode=True)
    source = seeds.random_source(0, "random convolutions")
    for width in _WIDTHS:
        weight = torch.randn(width, maps.shape[1], 3, 3, generator=source) * (2 / (9 * maps.shape[1])) ** 0.5
        maps = functional.conv2d(maps, weight.to(maps.device), stride=2, padding=1).relu()
    return functional.adaptive_avg_pool2d(maps, 2).flatten(1)


def _samples(config: Any, validation: Any, device: torch.device) -> Callable[[nn.Module], dict[str, float]]:
    sampler = Sampler(nn.Identity(), config.condition, config.latent_size, validation.info, device, validation.known)
    real = random_features(validation.images[:_REAL].to(device))
    latents, _, draws = sampler.draw(_MADE)

    def measure(generator: nn.Module) -> dict[str, float]:
        made = replace(sampler, generator=generator).make(latents, draws)
        return {QUALITY: kernel_distance(random_features(made.to(device)), real)}

    return measure


def _translations(config: Any, validation: Any, device: torch.device) -> Callable[[nn.Module], dict[str, float]]:
    domains = [torch.stack([_square(each, config.crop.size) for each in side]) for side in (validation.a, validation.b)]
    real = [random_features(squares.to(device)) for squares in domains]
    shown = [squares[:_TRANSLATED].to(device).float() / 127.5 - 1 for squares in domains]

    def measure(generator: nn.Module) -> dict[str, float]:
        distances, differences = [], []
        for source, there, _ in ways_of(generator):
            made = torch.stack([translate(there, picture, config.multiple) for picture in shown[source]])
            distances.append(kernel_distance(random_features(to_uint8(made)), real[1 - source]))
            if isinstance(validation, PairedDataset):
                differences.append(float((made - shown[1 - source]).abs().mean() / 2))
        figures = {DIFFERENCE: differences, QUALITY: distances}
        return {name: sum(values) / len(values) for name, values in figures.items() if values}

    return measure


def _square(picture: Tensor, side: int) -> Tensor:
    """The middle of a picture, uint8 [3, side, side]."""
    height, width = picture.shape[1:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    return resized(picture[:, top : top + short, left : left + short], side)
