"""The step of an InfoGAN (Chen et al., 2016, arXiv:1606.03657): discriminator with Q, then generator.

Both phases minimise -λ times the mutual-information bound besides their adversarial loss: the first teaches Q to read
the codes from an image, the second the generator to write them legibly.
"""

from collections.abc import Generator as Stream
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from training import seeds
from training.config import CodesConfig, InfoGanConfig
from training.data import DatasetInfo, ImageDataset, ResidentBatches, Split, load
from training.grids import enlarged_grid
from training.nets.dcgan import Generator
from training.nets.infogan import Guess, InfoDiscriminator
from training.objectives import OBJECTIVES
from training.objectives.information import categorical_loss, continuous_loss
from training.regularizers.deformation import DRAWS, deformed
from training.regularizers.equivariance import equivariance_loss
from training.regularizers.invariance import invariance_loss
from training.steps.phase import Loss, Model, Phase
from training.steps.placing import adam, placed

_FRAMES = 7  # of a sweep that a tick shows


@dataclass(frozen=True)
class Batch:
    """What a phase is given.

    Attributes:
        images: float32 [B, C, H, W] in [-1, 1], real.
        noise: float32 [B, noise], standard normal, drawn anew for each phase, as are the codes.
        categorical: int64 [B, number of categorical codes].
        continuous: float32 [B, numbers of all continuous codes], uniform on [-1, 1].
        deformation: float32 [B, DRAWS], uniform on [-1, 1]; see `training.regularizers.deformation`.
    """

    images: Tensor
    noise: Tensor
    categorical: Tensor
    continuous: Tensor
    deformation: Tensor


def load_data(config: InfoGanConfig, split: Split, data_dir: Path | None) -> ImageDataset:
    """The data set that the configuration names; its labels are not used. See `training.data.load`."""
    return load(config.data, split, data_dir)


def build(config: InfoGanConfig, dataset: ImageDataset, device: torch.device) -> Model:
    """Makes the nets, their optimizers and the two phases.

    Args:
        config: The run's configuration.
        dataset: What the nets are to fit.
        device: Where they live.

    Returns:
        The model, with weights drawn from torch's global random source.
    """
    generator = placed(build_generator(config, dataset.info), device)
    discriminator = placed(build_discriminator(config, dataset.info), device)
    objective = OBJECTIVES[config.objective]
    batches = ResidentBatches(dataset, config.batch, config.seed, device)
    is_regularized = config.invariance_weight > 0 or config.equivariance_weight > 0

    def feed(step: int) -> Stream[Batch, object, None]:
        images, _ = batches.batch(step)
        source = seeds.random_source(config.seed, "latents", step)
        while True:
            drawn = (
                *draw_codes(config.codes, config.batch, source),
                torch.rand(config.batch, DRAWS, generator=source) * 2 - 1,
            )
            yield Batch(images, *(each.to(device, non_blocking=True) for each in drawn))

    def sampled(batch: Batch) -> Tensor:
        samples: Tensor = generator(batch.noise, code_vector(config.codes, batch.categorical, batch.continuous))
        return samples

    def information(guess: Guess, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        categorical = categorical_loss(guess.categorical, batch.categorical)
        continuous = continuous_loss(guess.mean, guess.log_variance, batch.continuous)
        loss = config.categorical_weight * categorical + config.continuous_weight * continuous
        return loss, {"categorical": categorical, "continuous": continuous}

    def regularization(guess: Guess, again: Guess, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the guesses for real images and for their deformations."""
        losses = [
            invariance_loss(first, second, config.invariance_balance)
            for first, second in zip(guess.categorical, again.categorical, strict=True)
        ]
        statistics: dict[str, Tensor] = {}
        loss = torch.zeros((), device=device)
        if losses:
            statistics["invariance"] = torch.stack(losses).sum()
            loss = loss + config.invariance_weight * statistics["invariance"]
        if guess.mean.shape[1]:
            statistics["equivariance"] = equivariance_loss(guess.mean, again.mean, batch.deformation)
            loss = loss + config.equivariance_weight * statistics["equivariance"]
        return loss, statistics

    def discriminator_loss(batch: Batch) -> Loss:
        with torch.no_grad():
            shown = [batch.images, sampled(batch)]
        if is_regularized:
            shown.append(deformed(batch.images, batch.deformation))
        scores, features = discriminator(torch.cat(shown))  # one pass over all
        score, feature = (whole.split(len(batch.images)) for whole in (scores, features))
        loss, statistics = information(discriminator.guess(feature[1]), batch)
        loss = loss + objective.discriminator(score[0], score[1])
        if is_regularized:
            more, named = regularization(discriminator.guess(feature[0]), discriminator.guess(feature[2]), batch)
            loss, statistics = loss + more, {**statistics, **named}
        return Loss(loss, {**statistics, "real": score[0].mean(), "fake": score[1].mean()})

    def generator_loss(batch: Batch) -> Loss:
        scores, features = discriminator(sampled(batch))
        loss, statistics = information(discriminator.guess(features), batch)
        return Loss(loss + objective.generator(scores), statistics)

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
        view=_View(config),
    )


def build_generator(config: InfoGanConfig, data: DatasetInfo) -> Generator:
    """The generator alone, as sampling needs it.

    Args:
        config: The run's configuration.
        data: What the net is to fit.

    Returns:
        The generator on the CPU, with weights drawn from torch's global random source.
    """
    codes = config.codes
    return Generator(
        condition_size=sum(codes.categorical) + sum(codes.continuous),
        channels=data.channels,
        size=data.size,
        latent_size=codes.noise,
        width=config.generator.width,
    )


def build_discriminator(config: InfoGanConfig, data: DatasetInfo) -> InfoDiscriminator:
    """The discriminator and Q, as training and the evaluation of Q need them.

    Args:
        config: The run's configuration.
        data: What the net is to fit.

    Returns:
        The net on the CPU, with weights drawn from torch's global random source.
    """
    return InfoDiscriminator(
        channels=data.channels,
        size=data.size,
        width=config.discriminator.width,
        normalise=config.discriminator.spectral_norm,
        hidden=config.discriminator.hidden,
        categorical=config.codes.categorical,
        continuous=sum(config.codes.continuous),
        learned_variance=config.learned_variance,
    )


def draw_codes(codes: CodesConfig, count: int, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draws noise and codes.

    Args:
        codes: What there is.
        count: How many of each.
        source: Where randomness comes from.

    Returns:
        Noise, categorical and continuous codes, as in `Batch`.
    """
    noise = torch.randn(count, codes.noise, generator=source)
    categorical = torch.empty(count, len(codes.categorical), dtype=torch.int64)
    for code, values in enumerate(codes.categorical):
        categorical[:, code] = torch.randint(values, (count,), generator=source)
    continuous = torch.rand(count, sum(codes.continuous), generator=source) * 2 - 1
    return noise, categorical, continuous


def code_vector(codes: CodesConfig, categorical: Tensor, continuous: Tensor) -> Tensor:
    """The generator's condition: each categorical code as one-hot, then the continuous codes.

    Args:
        codes: What there is.
        categorical: int64 [B, number of categorical codes].
        continuous: float32 [B, numbers of all continuous codes].

    Returns:
        float32 [B, sum of all sizes].
    """
    pairs = zip(categorical.T, codes.categorical, strict=True)
    one_hots = [functional.one_hot(drawn, values).float() for drawn, values in pairs]
    return torch.cat([*one_hots, continuous], dim=1)


class _View:
    """The same sweeps at every tick.

    A row for each value of the first categorical code; beside each other the sweeps of the continuous numbers from -1
    to 1.
    """

    def __init__(self, config: InfoGanConfig) -> None:
        codes, numbers = config.codes, sum(config.codes.continuous)
        rows = codes.categorical[0] if codes.categorical else 1
        self._columns = _FRAMES * max(1, numbers)
        count = rows * self._columns
        self._noise = torch.randn(1, codes.noise, generator=seeds.random_source(config.seed, "grid")).expand(count, -1)
        categorical = torch.zeros(count, len(codes.categorical), dtype=torch.int64)
        categorical[:, :1] = torch.arange(rows).repeat_interleave(self._columns)[:, None]
        continuous = torch.zeros(rows, max(1, numbers), _FRAMES, numbers)
        for number in range(numbers):
            continuous[:, number, :, number] = torch.linspace(-1, 1, _FRAMES)
        self._condition = code_vector(codes, categorical, continuous.flatten(0, 2))

    @torch.no_grad()
    def __call__(self, generator: Generator) -> Image.Image:
        device = next(generator.parameters()).device
        return enlarged_grid(generator(self._noise.to(device), self._condition.to(device)), columns=self._columns)
