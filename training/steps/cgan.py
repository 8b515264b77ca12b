"""The step of a class-conditional GAN (Mirza & Osindero, 2014, arXiv:1411.1784): discriminator, then generator.

An auxiliary classifier may help the label through (AC-GAN; Odena et al., 2017, arXiv:1610.09585); unlike there, the
discriminator's phase teaches it with real images only, so that it does not learn the generator's mistakes.
"""

from collections.abc import Generator as Stream
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from training import seeds
from training.config import CganConfig
from training.data import DatasetInfo, ImageDataset, ResidentBatches, Split, load
from training.grids import enlarged_grid
from training.nets.dcgan import Discriminator, Generator
from training.objectives import OBJECTIVES
from training.steps.phase import Loss, Model, Phase
from training.steps.placing import adam, placed

SAMPLES_PER_CLASS = 10
"""Columns of the grid that a tick shows."""


@dataclass(frozen=True)
class Batch:
    """What a phase is given.

    Attributes:
        images: float32 [B, C, H, W] in [-1, 1], real.
        labels: int64 [B], theirs.
        latents: float32 [B, latent size], standard normal, drawn anew for each phase.
    """

    images: Tensor
    labels: Tensor
    latents: Tensor


def load_data(config: CganConfig, split: Split, data_dir: Path | None) -> ImageDataset:
    """The data set that the configuration names; see `training.data.load`."""
    return load(config.data, split, data_dir)


def build(config: CganConfig, dataset: ImageDataset, device: torch.device) -> Model:
    """Makes the nets, their optimizers and the two phases.

    Args:
        config: The run's configuration.
        dataset: What the nets are to fit.
        device: Where they live.

    Returns:
        The model, with weights drawn from torch's global random source.
    """
    generator = placed(build_generator(config, dataset.info), device)
    discriminator = placed(_build_discriminator(config, dataset.info), device)
    objective = OBJECTIVES[config.objective]
    classes = len(dataset.class_names)
    batches = ResidentBatches(dataset, config.batch, config.seed, device)

    def feed(step: int) -> Stream[Batch, object, None]:
        images, labels = batches.batch(step)
        source = seeds.random_source(config.seed, "latents", step)
        while True:
            latents = torch.randn(config.batch, config.generator.latent_size, generator=source)
            yield Batch(images, labels, latents.to(device, non_blocking=True))

    def sampled(batch: Batch) -> Tensor:
        samples: Tensor = generator(batch.latents, one_hot(batch.labels, classes))
        return samples

    def discriminator_loss(batch: Batch) -> Loss:
        with torch.no_grad():
            samples = sampled(batch)
        # One pass over both halves: faster, and the spectral norms take one power iteration a phase.
        outputs, logits = discriminator(torch.cat([batch.images, samples]), batch.labels.repeat(2))
        real, fake = outputs.chunk(2)
        loss = objective.discriminator(real, fake)
        statistics = {"real": real.mean(), "fake": fake.mean()}
        if logits is not None:
            statistics["classifier"] = functional.cross_entropy(logits.chunk(2)[0], batch.labels)
            loss = loss + config.classifier_weight * statistics["classifier"]
        return Loss(loss, statistics)

    def generator_loss(batch: Batch) -> Loss:
        outputs, logits = discriminator(sampled(batch), batch.labels)
        loss = objective.generator(outputs)
        if logits is None:
            return Loss(loss, {})
        classifier = functional.cross_entropy(logits, batch.labels)
        return Loss(loss + config.classifier_weight * classifier, {"classifier": classifier})

    return Model(
        generator=generator,
        phases=[
            Phase(
                name="discriminator",
                module=discriminator,
                optimizer=adam(discriminator, config.optimizer.discriminator_lr, config.optimizer),
                loss=discriminator_loss,
            ),
            Phase(
                name="generator",
                module=generator,
                optimizer=adam(generator, config.optimizer.generator_lr, config.optimizer),
                loss=generator_loss,
            ),
        ],
        feed=feed,
        view=_View(config, dataset.info),
    )


def build_generator(config: CganConfig, data: DatasetInfo) -> Generator:
    """The generator alone, as sampling needs it.

    Args:
        config: The run's configuration.
        data: What the net is to fit.

    Returns:
        The generator on the CPU, with weights drawn from torch's global random source.
    """
    return Generator(
        condition_size=len(data.class_names),
        channels=data.channels,
        size=data.size,
        latent_size=config.generator.latent_size,
        width=config.generator.width,
    )


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """The generator's condition for pictures of one class each.

    Args:
        labels: int64 [B], each in [0, classes).
        classes: Number of classes.

    Returns:
        float32 [B, classes].
    """
    return functional.one_hot(labels, classes).float()


def _build_discriminator(config: CganConfig, data: DatasetInfo) -> Discriminator:
    return Discriminator(
        classes=len(data.class_names),
        channels=data.channels,
        size=data.size,
        width=config.discriminator.width,
        concat=config.discriminator.concat,
        projection=config.discriminator.projection,
        classifier=config.classifier_weight > 0,
        normalise=config.discriminator.spectral_norm,
    )


class _View:
    """The same samples at every tick, one row a class."""

    def __init__(self, config: CganConfig, data: DatasetInfo) -> None:
        classes = len(data.class_names)
        source = seeds.random_source(config.seed, "grid")
        self._latents = torch.randn(classes * SAMPLES_PER_CLASS, config.generator.latent_size, generator=source)
        self._conditions = one_hot(torch.arange(classes).repeat_interleave(SAMPLES_PER_CLASS), classes)

    @torch.no_grad()
    def __call__(self, generator: Generator) -> Image.Image:
        device = next(generator.parameters()).device
        samples = generator(self._latents.to(device), self._conditions.to(device))
        return enlarged_grid(samples, columns=SAMPLES_PER_CLASS)
