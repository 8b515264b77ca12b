"""Runs small enough for a unit test: real nets on real digits, or on a few pictures of noise; a few steps."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.config import (
    CganConfig,
    CodesConfig,
    CropConfig,
    CycleGanConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    InfoGanConfig,
    OptimizerConfig,
    PatchConfig,
    TrainConfig,
    TranslatorConfig,
)
from training.config.infogan import InfoDiscriminatorConfig, InfoGeneratorConfig

DECAYING = OptimizerConfig(constant_share=0.25)


@pytest.fixture
def config() -> CganConfig:
    """Eight steps of sixteen digits, in float32, which is exact on the CPU."""
    return CganConfig(
        data="digits",
        images=128,
        tick=64,
        batch=16,
        precision="float32",
        generator=GeneratorConfig(latent_size=8, width=4),
        discriminator=DiscriminatorConfig(width=4),
    )


@pytest.fixture
def infogan() -> InfoGanConfig:
    """The same length, with a learning rate that falls from the third step on."""
    return InfoGanConfig(
        data="digits",
        images=128,
        tick=64,
        batch=16,
        precision="float32",
        codes=CodesConfig(noise=8, categorical=(3,), continuous=(1, 2)),
        learned_variance=True,
        generator=InfoGeneratorConfig(width=4),
        discriminator=InfoDiscriminatorConfig(width=4, hidden=8),
        optimizer=DECAYING,
    )


@pytest.fixture
def cyclegan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CycleGanConfig:
    """Twelve steps, of which nine find the pools full; the data lie where GANTRY_DATA_DIR says."""
    for domain, count in (("A", 3), ("B", 4)):
        folder = tmp_path / "data" / "noise" / f"train{domain}"
        folder.mkdir(parents=True)
        for number in range(count):
            grey = np.random.default_rng((ord(domain), number)).normal(128, 60 + 10 * number, (36, 40))
            Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB").save(folder / f"{number}.png")
    monkeypatch.setenv("GANTRY_DATA_DIR", str(tmp_path / "data"))
    return CycleGanConfig(
        data="noise",
        domain_a="fog",
        domain_b="snow",
        images=12,
        tick=6,
        precision="float32",
        pool=3,
        generator=TranslatorConfig(width=2, blocks=1),
        discriminator=PatchConfig(width=2),
        crop=CropConfig(size=32, min_side=32, max_side=40),
        optimizer=DECAYING,
    )


@pytest.fixture(params=["cgan", "infogan", "cyclegan"])
def any_family(request: pytest.FixtureRequest) -> TrainConfig:
    """A run of each family in turn."""
    name = {"cgan": "config"}.get(request.param, request.param)
    return request.getfixturevalue(name)
