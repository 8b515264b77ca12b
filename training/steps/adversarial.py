"""The step of every GAN that makes pictures from noise: the discriminator learns, then the generator.

What a GAN is made of is said by its configuration: the objective, terms that are added to it, what the generator is
given beside its latent, and the nets. Nothing here knows of any one of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Generator as Stream
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor, nn

from training import seeds
from training.data import Batches, DatasetInfo, ImageDataset
from training.grids import enlarged_grid
from training.nets.discriminator import Discriminator
from training.steps.phase import Loss, Model, Phase
from training.steps.setup import optimizer_of, to_device
from training.terms import Heads, Seen, Side, Verdict

if TYPE_CHECKING:
    from training.config.gan import GanConfig

Draw = Callable[[int, torch.Generator], Tensor]
View = Callable[[Tensor, Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True)
class GanBatch:
    """What a phase is given.

    Attributes:
        images: float32 [B, C, H, W] in [-1, 1], real.
        latents: float32 [B, latent size], standard normal, drawn anew for each phase, as are ...
        draws: ... the condition, and what terms and augmentations need, by name.
        images_seen: Real images that were shown before this step, float32 [B], all equal.
    """

    images: Tensor
    latents: Tensor
    draws: Mapping[str, Tensor]
    images_seen: Tensor


def build(config: GanConfig, dataset: ImageDataset, device: torch.device) -> Model:
    """Makes the nets, their optimizers and the two phases.

    Args:
        config: The run's configuration.
        dataset: What the nets are to fit.
        device: Where they live.

    Returns:
        The model, with weights drawn from torch's global random source.
    """
    info = dataset.info
    generator = to_device(config.build_generator(info), device)
    discriminator = to_device(config.build_discriminator(info), device)
    losses = Losses(config, info, generator, discriminator)
    optimizer = config.optimizer
    return Model(
        generator=generator,
        phases=[
            Phase(
                name="discriminator",
                module=discriminator,
                optimizer=optimizer_of(discriminator, optimizer.discriminator_lr, optimizer),
                loss=losses.of_discriminator,
                repeats=config.critic_steps,
                after=config.discriminator.clipping,
            ),
            Phase(
                name="generator",
                module=generator,
                optimizer=optimizer_of(generator, optimizer.generator_lr, optimizer),
                loss=losses.of_generator,
            ),
        ],
        batches=_Batches(config, dataset, device),
        sample_grid=_SampleGrid(config, info),
        averaged={"discriminator": discriminator} if config.classifies else {},
    )


class Losses:
    """What both sides minimise: pure functions of a batch, but for the nets' own buffers."""

    def __init__(
        self, config: GanConfig, info: DatasetInfo, generator: nn.Module, discriminator: Discriminator
    ) -> None:
        """Keeps the parts.

        Args:
            config: Says which parts there are.
            info: The data set.
            generator: From (latents, condition vector or None) to images.
            discriminator: From (images, condition vector or None) to (scores, features); has `heads`.
        """
        self._condition, self._objective, self._info = config.condition, config.adversarial, info
        self._adversarial_weight, self._augmentations = config.adversarial_weight, config.used_augmentations
        self._terms = {side: config.terms_of(side) for side in ("discriminator", "generator")}
        self._views = views_of(config)
        shows = [self._objective.shows_real, *(term.shows_real for term in self._terms["generator"].values())]
        self._shows_real = any(shows)
        self._apart = config.discriminator.sees_the_batch
        self._generator, self._discriminator = generator, discriminator

    def of_discriminator(self, batch: GanBatch) -> Loss:
        """The objective on real images and samples, and the discriminator's terms."""
        condition = self._condition.vector(batch.draws, self._info)
        with torch.no_grad():
            fake = self._generator(batch.latents, condition)
        views = {name: view(batch.images, batch.draws) for name, view in self._views.items()}
        seen = self._seen("discriminator", {"real": batch.images, "fake": fake, **views}, batch, condition)
        assert seen.of_real is not None
        real, fake = seen.of_real.score, seen.of_fake.score
        value, statistics = self._with_terms(seen)
        value = value + self._objective.discriminator(real, fake)
        realness = self._objective.realness
        return Loss(value, {**statistics, "real": realness(real).mean(), "fake": realness(fake).mean()})

    def of_generator(self, batch: GanBatch) -> Loss:
        """The objective on samples, and the generator's terms."""
        condition = self._condition.vector(batch.draws, self._info)
        fake = self._generator(batch.latents, condition)
        real = {"real": batch.images} if self._shows_real else {}
        seen = self._seen("generator", {"fake": fake, **real}, batch, condition)
        value, statistics = self._with_terms(seen)
        objective = self._objective.generator(None if seen.of_real is None else seen.of_real.score, seen.of_fake.score)
        return Loss(value + self._adversarial_weight * objective, statistics)

    def _seen(self, side: Side, images: Mapping[str, Tensor], batch: GanBatch, condition: Tensor | None) -> Seen:
        """Shows the discriminator images by name; "real", "fake", and what terms want shown besides."""
        shown = self._augmented(images, batch)
        verdicts = self._verdicts(shown, condition)
        return Seen(
            side=side,
            net=self._generator if side == "generator" else self._discriminator,
            discriminate=lambda others: self._verdict(others, condition),
            real=shown.get("real", batch.images),
            fake=shown["fake"],
            of_real=verdicts.get("real"),
            of_fake=verdicts["fake"],
            views=verdicts,
            latents=batch.latents,
            draws=batch.draws,
        )

    def _augmented(self, shown: Mapping[str, Tensor], batch: GanBatch) -> dict[str, Tensor]:
        """What the discriminator is shown, as the augmentations change it; each in its own way."""
        changed = dict(shown)
        for (name, augmentation), shown_as in itertools.product(self._augmentations.items(), shown):
            prefix = f"{name}/{shown_as}/"
            draws = {key.removeprefix(prefix): drawn for key, drawn in batch.draws.items() if key.startswith(prefix)}
            changed[shown_as] = augmentation.changed(changed[shown_as], draws, batch.images_seen)
        return changed

    def _verdicts(self, shown: Mapping[str, Tensor], condition: Tensor | None) -> dict[str, Verdict]:
        """One pass over all: faster, and spectral norms take one power iteration a phase.

        Where a score depends on the batch each has a pass of its own, so that what is real is not mixed with what is
        not.
        """
        if self._apart:
            return {name: self._verdict(images, condition) for name, images in shown.items()}
        repeated = None if condition is None else condition.repeat(len(shown), 1)
        both = self._discriminator(torch.cat([*shown.values()]), repeated)
        parts = zip(shown, *(each.chunk(len(shown)) for each in both), strict=True)
        return {name: Verdict(score, part, Heads(self._discriminator.heads, part)) for name, score, part in parts}

    def _verdict(self, images: Tensor, condition: Tensor | None) -> Verdict:
        score, features = self._discriminator(images, condition)
        return Verdict(score, features, Heads(self._discriminator.heads, features))

    def _with_terms(self, seen: Seen) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of a side's terms, and each of them."""
        statistics = {name: term.value(seen) for name, term in self._terms[seen.side].items()}
        weighted = [self._terms[seen.side][name].weight * value for name, value in statistics.items()]
        return sum(weighted, start=torch.zeros((), device=seen.fake.device)), statistics


def views_of(config: GanConfig) -> dict[str, View]:
    """What the discriminator is shown besides real images and samples, by name."""
    return {name: view for term in config.terms_of("discriminator").values() for name, view in term.views().items()}


def draws_of(config: GanConfig, info: DatasetInfo) -> dict[str, Draw]:
    """What terms and augmentations need drawn, by name; an augmentation draws anew for all that it changes."""
    drawn = {name: draw for term in config.terms_of().values() for name, draw in term.draws().items()}
    shown = ("real", "fake", *views_of(config))
    for (name, augmentation), shown_as in itertools.product(config.used_augmentations.items(), shown):
        drawn |= {f"{name}/{shown_as}/{key}": draw for key, draw in augmentation.draws(info).items()}
    return drawn


class _Batches:
    """The batches of a step's phases: real images anew for each time that the discriminator learns."""

    def __init__(self, config: GanConfig, dataset: ImageDataset, device: torch.device) -> None:
        self._config, self._device = config, device
        self._real = Batches(dataset, config.batch, config.seed, device)
        self._draws = draws_of(config, dataset.info)
        self._beside = {
            name: Batches(beside, config.batch, seeds.derive_seed(config.seed, name), device)
            for name, term in config.terms_of().items()
            if (beside := term.beside(dataset, config.seed)) is not None
        }

    def __call__(self, step: int) -> Stream[GanBatch, object, None]:
        config, critic_steps = self._config, self._config.critic_steps
        source = seeds.random_source(config.seed, "latents", step)
        for phase in itertools.count():
            if phase < critic_steps:  # the generator's phase has the last of them
                number = step * critic_steps + phase
                images, known = self._real.batch(number)
                beside = dict(self._drawn_beside(number))
            latents = torch.randn(config.batch, config.latent_size, generator=source)
            draws = dict(config.condition.draw(known, config.batch, source))
            draws |= {name: draw(config.batch, source) for name, draw in self._draws.items()} | beside
            moved = {name: drawn.to(self._device, non_blocking=True) for name, drawn in draws.items()}
            seen = torch.full((config.batch,), float(step * config.step_images), device=self._device)
            yield GanBatch(images, latents.to(self._device, non_blocking=True), moved, seen)

    def _drawn_beside(self, number: int) -> Iterator[tuple[str, Tensor]]:
        """The images that terms want besides, and what is known of them, by name."""
        for name, batches in self._beside.items():
            images, known = batches.batch(number)
            yield f"{name}/images", images
            yield from ((f"{name}/{what}", values) for what, values in known.items())


class _SampleGrid:
    """The same samples at every tick."""

    def __init__(self, config: GanConfig, info: DatasetInfo) -> None:
        self._shown = config.condition.showcase(info, config.latent_size, seeds.random_source(config.seed, "grid"))
        self._vector = config.condition.vector(self._shown.draws, info)

    @torch.no_grad()
    def __call__(self, generator: nn.Module) -> Image.Image:
        device = next(generator.parameters()).device
        vector = None if self._vector is None else self._vector.to(device)
        return enlarged_grid(generator(self._shown.latents.to(device), vector), columns=self._shown.columns)
