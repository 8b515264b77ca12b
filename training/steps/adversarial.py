"""The step of every GAN that makes pictures from noise: the discriminator learns, then the generator.

What a GAN is made of is said by its configuration: the objective, terms that are added to it, what the generator is
given beside its latent, and the nets. Nothing here knows of any one of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator as Stream
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor, nn

from training import seeds
from training.data import Batches, DatasetInfo, ImageDataset
from training.grids import enlarged_grid
from training.nets.patches import Discriminator
from training.steps.phase import Loss, Model, Phase
from training.steps.setup import optimizer_of, to_device
from training.terms import Heads, Seen, Side, Verdict

if TYPE_CHECKING:
    from training.config.gan import GanConfig


@dataclass(frozen=True)
class GanBatch:
    """What a phase is given.

    Attributes:
        images: float32 [B, C, H, W] in [-1, 1], real.
        latents: float32 [B, latent size], standard normal, drawn anew for each phase, as are ...
        draws: ... the condition and what terms need, by name.
    """

    images: Tensor
    latents: Tensor
    draws: Mapping[str, Tensor]


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
            discriminator: From (images, labels or None) to (scores, features); has `heads`.
        """
        self._condition, self._objective, self._info = config.condition, config.adversarial, info
        self._terms = {side: config.terms_of(side) for side in ("discriminator", "generator")}
        self._views = {
            name: view for term in self._terms["discriminator"].values() for name, view in term.views().items()
        }
        shows = [self._objective.shows_real, *(term.shows_real for term in self._terms["generator"].values())]
        self._shows_real = any(shows)
        self._apart = "batch norm" in config.discriminator.provides
        self._generator, self._discriminator = generator, discriminator

    def of_discriminator(self, batch: GanBatch) -> Loss:
        """The objective on real images and samples, and the discriminator's terms."""
        with torch.no_grad():
            fake = self._samples(batch)
        views = {name: view(batch.images, batch.draws) for name, view in self._views.items()}
        of_real, of_fake, *of_views = self._verdicts([batch.images, fake, *views.values()], batch)
        seen = self._seen("discriminator", batch, fake, of_real, of_fake, dict(zip(views, of_views, strict=True)))
        value, statistics = self._with_terms(seen)
        value = value + self._objective.discriminator(of_real.score, of_fake.score)
        return Loss(value, {**statistics, "real": of_real.score.mean(), "fake": of_fake.score.mean()})

    def of_generator(self, batch: GanBatch) -> Loss:
        """The objective on samples, and the generator's terms."""
        fake = self._samples(batch)
        real = [batch.images] if self._shows_real else []
        of_fake, *rest = self._verdicts([fake, *real], batch)
        of_real = rest[0] if rest else None
        value, statistics = self._with_terms(self._seen("generator", batch, fake, of_real, of_fake, {}))
        objective = self._objective.generator(None if of_real is None else of_real.score, of_fake.score)
        return Loss(value + objective, statistics)

    def _samples(self, batch: GanBatch) -> Tensor:
        samples: Tensor = self._generator(batch.latents, self._condition.vector(batch.draws, self._info))
        return samples

    def _verdicts(self, shown: list[Tensor], batch: GanBatch) -> list[Verdict]:
        """One pass over all: faster, and spectral norms take one power iteration a phase.

        Under batch normalisation each has a pass of its own, since it would mix what is real with what is not.
        """
        if self._apart:
            return [self._verdict(images, batch) for images in shown]
        labels = batch.draws.get("labels")
        scores, features = self._discriminator(torch.cat(shown), None if labels is None else labels.repeat(len(shown)))
        parts = zip(scores.chunk(len(shown)), features.chunk(len(shown)), strict=True)
        return [Verdict(score, part, Heads(self._discriminator.heads, part)) for score, part in parts]

    def _verdict(self, images: Tensor, batch: GanBatch) -> Verdict:
        score, features = self._discriminator(images, batch.draws.get("labels"))
        return Verdict(score, features, Heads(self._discriminator.heads, features))

    def _seen(
        self,
        side: Side,
        batch: GanBatch,
        fake: Tensor,
        of_real: Verdict | None,
        of_fake: Verdict,
        views: dict[str, Verdict],
    ) -> Seen:
        return Seen(
            side, lambda images: self._verdict(images, batch), batch.images, fake, of_real, of_fake, views, batch.draws
        )

    def _with_terms(self, seen: Seen) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of a side's terms, and each of them."""
        statistics = {name: term.value(seen) for name, term in self._terms[seen.side].items()}
        weighted = [self._terms[seen.side][name].weight * value for name, value in statistics.items()]
        return sum(weighted, start=torch.zeros((), device=seen.fake.device)), statistics


class _Batches:
    """The batches of a step's phases: real images anew for each time that the discriminator learns."""

    def __init__(self, config: GanConfig, dataset: ImageDataset, device: torch.device) -> None:
        self._config, self._device = config, device
        self._real = Batches(dataset, config.batch, config.seed, device)
        self._draws = {name: draw for term in config.terms_of().values() for name, draw in term.draws().items()}

    def __call__(self, step: int) -> Stream[GanBatch, object, None]:
        config, critic_steps = self._config, self._config.critic_steps
        source = seeds.random_source(config.seed, "latents", step)
        for phase in itertools.count():
            if phase < critic_steps:  # the generator's phase has the last of them
                images, known = self._real.batch(step * critic_steps + phase)
            latents = torch.randn(config.batch, config.latent_size, generator=source)
            draws = dict(config.condition.draw(known, config.batch, source))
            draws |= {name: draw(config.batch, source) for name, draw in self._draws.items()}
            moved = {name: drawn.to(self._device, non_blocking=True) for name, drawn in draws.items()}
            yield GanBatch(images, latents.to(self._device, non_blocking=True), moved)


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
