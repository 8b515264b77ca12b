"""The configurations that ship: a preset is a function that returns one."""

from collections.abc import Callable

from training.config import (
    CganConfig,
    ConfigError,
    CropConfig,
    CycleGanConfig,
    DiscriminatorConfig,
    EmaConfig,
    GeneratorConfig,
    InfoGanConfig,
    OptimizerConfig,
    PatchConfig,
    TrainConfig,
    TranslatorConfig,
)
from training.config.infogan import InfoDiscriminatorConfig, InfoGeneratorConfig


def digits_cgan() -> TrainConfig:
    """The first steps: scikit-learn's digits, about a minute on two CPU cores."""
    return CganConfig(
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
    return CganConfig(data="mnist", images=640_000, tick=60_000)


def fashion_cgan() -> TrainConfig:
    """What model_store's fashion-cgan was trained with."""
    return CganConfig(
        data="fashion-mnist",
        images=800_000,
        tick=60_000,
        classifier_weight=0.2,
        discriminator=DiscriminatorConfig(concat=False),
    )


def digits_infogan() -> TrainConfig:
    """Codes found in scikit-learn's digits, for first tries."""
    return InfoGanConfig(
        data="digits",
        images=200_000,
        tick=40_000,
        precision="float32",
        generator=InfoGeneratorConfig(width=32),
        discriminator=InfoDiscriminatorConfig(width=32),
    )


def mnist_infogan() -> TrainConfig:
    """What model_store's mnist-infogan was trained with."""
    return InfoGanConfig(
        data="mnist",
        images=360_000,
        batch=128,
        seed=3,
        tick=50_000,
        continuous_weight=1.0,
        invariance_weight=2,
        equivariance_weight=4,
    )


def horse2zebra() -> TrainConfig:
    """The paper's recipe: 256 pixels, 200 passes over the horses; for a GPU."""
    return CycleGanConfig(
        data="horse2zebra", domain_a="horse", domain_b="zebra", images=213_400, tick=5_000, compile=True
    )


def horse2zebra_lite() -> TrainConfig:
    """What model_store's horse2zebra was trained with: 128 pixels and narrow nets, for two CPU cores.

    Crops of several scales let the nets translate pictures of 128 to 256 pixels. There is no identity loss, which costs
    a third of a step's time; nets that begin with the picture itself keep its colours without (the first try had
    neither, and after 2,000 steps light and dark were swapped).
    """
    return CycleGanConfig(
        data="horse2zebra",
        domain_a="horse",
        domain_b="zebra",
        images=25_000,
        tick=1_000,
        compile=True,
        cycle_weight=3,
        identity_weight=0,
        generator=TranslatorConfig(width=32, blocks=6, residual=True),
        discriminator=PatchConfig(width=32),
        crop=CropConfig(size=128, min_side=128, max_side=256),
        optimizer=OptimizerConfig(generator_lr=3e-4, discriminator_lr=3e-4, constant_share=0.5),
        ema=EmaConfig(half_life=500),
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "digits-cgan": digits_cgan,
    "mnist-cgan": mnist_cgan,
    "fashion-mnist-cgan": fashion_cgan,
    "digits-infogan": digits_infogan,
    "mnist-infogan": mnist_infogan,
    "horse2zebra": horse2zebra,
    "horse2zebra-lite": horse2zebra_lite,
}
"""Every preset by name."""


def preset(name: str) -> TrainConfig:
    """The preset of a name.

    Args:
        name: For example "mnist-cgan".

    Returns:
        Its configuration.

    Raises:
        ConfigError: If there is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise ConfigError(f"--preset {name}: there is none of this name; there are {', '.join(PRESETS)}")
    return PRESETS[name]()
