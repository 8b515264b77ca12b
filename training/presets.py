"""The configurations that ship: a preset is a function that returns one."""

from collections.abc import Callable

from training.config import (
    ConfigError,
    DiscriminatorConfig,
    EmaConfig,
    GeneratorConfig,
    OptimizerConfig,
    TrainConfig,
)


def digits_cgan() -> TrainConfig:
    """The first steps: scikit-learn's digits, about a minute on two CPU cores."""
    return TrainConfig(
        family="cgan",
        data="digits",
        images=120_000,
        tick=30_000,
        precision="float32",  # nets this small gain little from bfloat16, and float32 resumes exactly
        generator=GeneratorConfig(width=32),
        discriminator=DiscriminatorConfig(width=32),
        optimizer=OptimizerConfig(generator_lr=1.5e-3, discriminator_lr=1.5e-3),
        ema=EmaConfig(half_life=15_000),
    )


def mnist_cgan() -> TrainConfig:
    """What model_store's mnist-cgan was trained with."""
    return TrainConfig(family="cgan", data="mnist", images=640_000, tick=60_000)


def fashion_cgan() -> TrainConfig:
    """What model_store's fashion-cgan was trained with."""
    return TrainConfig(
        family="cgan",
        data="fashion-mnist",
        images=800_000,
        tick=60_000,
        classifier_weight=0.2,
        discriminator=DiscriminatorConfig(concat=False),
    )


PRESETS: dict[tuple[str, str], Callable[[], TrainConfig]] = {
    ("cgan", "digits"): digits_cgan,
    ("cgan", "mnist"): mnist_cgan,
    ("cgan", "fashion-mnist"): fashion_cgan,
}
"""Every preset by family and data set."""


def preset(family: str, data: str) -> TrainConfig:
    """The preset of a family on a data set.

    Args:
        family: For example "cgan".
        data: For example "mnist".

    Returns:
        Its configuration.

    Raises:
        ConfigError: If there is none; the message lists those there are.
    """
    if (family, data) not in PRESETS:
        known = ", ".join(f"{family} --data {data}" for family, data in PRESETS)
        raise ConfigError(f"no preset for {family} --data {data}; there are: {known}")
    return PRESETS[family, data]()
