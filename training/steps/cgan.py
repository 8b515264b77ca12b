"""The step of a class-conditional GAN (Mirza & Osindero, 2014, arXiv:1411.1784): discriminator, then generator.

An auxiliary classifier may help the label through (AC-GAN; Odena et al., 2017, arXiv:1610.09585); unlike there, the
discriminator's phase teaches it with real images only, so that it does not learn the generator's mistakes.
"""

from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from training.config import OptimizerConfig, TrainConfig
from training.data import DatasetInfo
from training.nets.dcgan import Discriminator, Generator
from training.objectives import OBJECTIVES
from training.steps.phase import Batch, Model, Phase

_Net = TypeVar("_Net", bound=nn.Module)


def build(config: TrainConfig, data: DatasetInfo, device: torch.device) -> Model:
    """Makes the nets, their optimizers and the two phases.

    Args:
        config: The run's configuration.
        data: What the nets are to fit.
        device: Where they live.

    Returns:
        The model, with weights drawn from torch's global random source.
    """
    generator = _placed(build_generator(config, data), device)
    discriminator = _placed(_build_discriminator(config, data), device)
    objective = OBJECTIVES[config.objective]

    def discriminator_loss(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            samples = generator(batch.latents, batch.labels)
        # One pass over both halves: faster, and the spectral norms take one power iteration a phase.
        outputs, logits = discriminator(torch.cat([batch.images, samples]), batch.labels.repeat(2))
        real, fake = outputs.chunk(2)
        loss = objective.discriminator(real, fake)
        statistics = {"real": real.mean(), "fake": fake.mean()}
        if logits is not None:
            statistics["classifier"] = functional.cross_entropy(logits.chunk(2)[0], batch.labels)
            loss = loss + config.classifier_weight * statistics["classifier"]
        return loss, statistics

    def generator_loss(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, logits = discriminator(generator(batch.latents, batch.labels), batch.labels)
        loss = objective.generator(outputs)
        if logits is None:
            return loss, {}
        classifier = functional.cross_entropy(logits, batch.labels)
        return loss + config.classifier_weight * classifier, {"classifier": classifier}

    return Model(
        generator=generator,
        phases=[
            Phase(
                name="discriminator",
                module=discriminator,
                optimizer=_adam(discriminator, config.optimizer.discriminator_lr, config.optimizer),
                loss=discriminator_loss,
            ),
            Phase(
                name="generator",
                module=generator,
                optimizer=_adam(generator, config.optimizer.generator_lr, config.optimizer),
                loss=generator_loss,
            ),
        ],
    )


def build_generator(config: TrainConfig, data: DatasetInfo) -> Generator:
    """The generator alone, as sampling needs it.

    Args:
        config: The run's configuration.
        data: What the net is to fit.

    Returns:
        The generator on the CPU, with weights drawn from torch's global random source.
    """
    return Generator(
        classes=len(data.class_names),
        channels=data.channels,
        size=data.size,
        latent_size=config.generator.latent_size,
        width=config.generator.width,
    )


def _build_discriminator(config: TrainConfig, data: DatasetInfo) -> Discriminator:
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


def _placed(net: _Net, device: torch.device) -> _Net:
    """On the device, in the memory format that convolutions in bfloat16 are fastest in."""
    return cast(_Net, net.to(device).to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def _adam(net: nn.Module, learning_rate: float, config: OptimizerConfig) -> Adam:
    return Adam(net.parameters(), lr=learning_rate, betas=(config.beta1, config.beta2), fused=True)
