"""A run small enough for a unit test: real data, real nets, a few steps."""

import pytest

from training.config import DiscriminatorConfig, GeneratorConfig, TrainConfig


@pytest.fixture
def config() -> TrainConfig:
    """Eight steps of sixteen digits, in float32, which is exact on the CPU."""
    return TrainConfig(
        family="cgan",
        data="digits",
        images=128,
        tick=64,
        batch=16,
        precision="float32",
        generator=GeneratorConfig(latent_size=8, width=4),
        discriminator=DiscriminatorConfig(width=4),
    )
