"""The step of one translator that learns from pairs (pix2pix; Isola et al., 2017, arXiv:1611.07004).

The generator learns, then the discriminator, which is shown what the generator's phase gave, so that nothing is
translated twice. It sees a picture beside the one that it was made of: whether they fit is part of being real.
"""

from __future__ import annotations

from collections.abc import Generator as Stream
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from training import seeds
from training.data import PairedCrops, PairedDataset
from training.grids import enlarged_grid
from training.steps.phase import Loss, Model, Phase
from training.steps.setup import optimizer_of, to_device

if TYPE_CHECKING:
    from training.config.paired import PairedConfig

_SHOWN = 8  # pairs
_CHANNELS = 6  # of two pictures


@dataclass(frozen=True)
class GeneratorBatch:
    """What the generator's phase is given.

    Attributes:
        source: What is to be translated, float32 [B, 3, S, S] in [-1, 1].
        target: What it is to become, of the same shape.
        dropout: As `UNet.draw_dropout` gives it.
    """

    source: Tensor
    target: Tensor
    dropout: Mapping[str, Tensor]


@dataclass(frozen=True)
class DiscriminatorBatch:
    """What the discriminator's phase is given; `fake` is the translation, without gradient, of the same shape."""

    source: Tensor
    target: Tensor
    fake: Tensor


def build(config: PairedConfig, dataset: PairedDataset, device: torch.device) -> Model:
    """Makes the nets, their optimizers and the two phases.

    Args:
        config: The run's configuration.
        dataset: What the nets are to fit.
        device: Where they live.

    Returns:
        The model, with weights drawn from torch's global random source.
    """
    generator = to_device(config.build_generator(dataset.info), device)
    discriminator = to_device(config.discriminator.build(_CHANNELS), device)
    translator: Any = generator[config.direction]
    objective, pairs = config.adversarial, _Pairs(config, dataset, config.batch, device)

    def batches(step: int) -> Stream[GeneratorBatch | DiscriminatorBatch, Any, None]:
        source, target = pairs.batch(step)
        draws = translator.draw_dropout(
            config.batch, config.crop.size, seeds.random_source(config.seed, "dropout", step)
        )
        (fake,) = yield GeneratorBatch(
            source, target, {name: drawn.to(device, non_blocking=True) for name, drawn in draws.items()}
        )
        yield DiscriminatorBatch(source, target, fake)

    def generator_loss(batch: GeneratorBatch) -> Loss:
        fake = translator(batch.source, batch.dropout)
        statistics = {
            "adversarial": objective.generator(None, discriminator(torch.cat([batch.source, fake], dim=1))),
            "l1": functional.l1_loss(fake, batch.target),
        }
        loss = statistics["adversarial"] + config.l1_weight * statistics["l1"]
        return Loss(loss, statistics, outputs=(fake.detach(),))

    def discriminator_loss(batch: DiscriminatorBatch) -> Loss:
        shown = torch.cat([batch.target, batch.fake])  # one pass over both halves
        real, fake = discriminator(torch.cat([batch.source.repeat(2, 1, 1, 1), shown], dim=1)).chunk(2)
        return Loss(objective.discriminator(real, fake), {"real": real.mean(), "fake": fake.mean()})

    return Model(
        generator=generator,
        phases=[
            Phase(
                "generator",
                generator,
                optimizer_of(generator, config.optimizer.generator_lr, config.optimizer),
                generator_loss,
            ),
            Phase(
                "discriminator",
                discriminator,
                optimizer_of(discriminator, config.optimizer.discriminator_lr, config.optimizer),
                discriminator_loss,
            ),
        ],
        batches=batches,
        sample_grid=_SampleGrid(config, dataset),
    )


class _Pairs:
    """Crops of pairs, in the order of the direction."""

    def __init__(self, config: PairedConfig, dataset: PairedDataset, batch: int, device: torch.device) -> None:
        self._crops = PairedCrops(dataset, batch, config.crop, config.seed, device)
        self._reversed = config.direction == "b_to_a"

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The sources and the targets of a step."""
        a, b = self._crops.batch(step)
        return (b, a) if self._reversed else (a, b)


class _SampleGrid:
    """The same training pairs at every tick, a row each: the input, its translation, its target."""

    def __init__(self, config: PairedConfig, dataset: PairedDataset) -> None:
        # On the CPU, since a device may have no room for the data set twice.
        self._source, self._target = _Pairs(config, dataset, _SHOWN, torch.device("cpu")).batch(0)
        self._direction = config.direction

    @torch.no_grad()
    def __call__(self, generator: nn.ModuleDict) -> Image.Image:
        device = next(generator.parameters()).device
        translated = generator[self._direction](self._source.to(device)).cpu()
        rows = torch.stack([self._source, translated, self._target], dim=1).flatten(0, 1)
        return enlarged_grid(rows, columns=3, heads=("input", "output", "target"))
