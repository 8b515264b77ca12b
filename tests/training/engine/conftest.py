"""Runs small enough for a unit test: real nets on real digits, or on a few pictures of noise; a few steps."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.conditions import CodesCondition, LabelCondition
from training.config import CropConfig, OptimizerConfig, RunConfig
from training.config.gan import GanConfig
from training.config.paired import PairedConfig
from training.config.translation import TranslationConfig
from training.nets.patches import PatchDiscriminatorConfig, PatchGeneratorConfig
from training.nets.posterior import PosteriorConfig
from training.nets.translator import PatchConfig, TranslatorConfig
from training.nets.unet import UNetConfig
from training.recipes import RECIPES
from training.terms.information import CategoricalInformation, ContinuousInformation

DECAYING = OptimizerConfig(decay_start=0.25)


@pytest.fixture
def config() -> GanConfig:
    """Eight steps of sixteen digits, in float32, which is exact on the CPU."""
    return GanConfig(
        recipe="cgan",
        data="digits",
        total_images=128,
        tick=64,
        batch=16,
        precision="float32",
        latent_size=8,
        condition=LabelCondition(),
        generator=PatchGeneratorConfig(width=4),
        discriminator=PatchDiscriminatorConfig(width=4, concat=True, projection=True),
    )


@pytest.fixture
def infogan() -> GanConfig:
    """The same length, with a learning rate that falls from the third step on."""
    return GanConfig(
        recipe="infogan",
        data="digits",
        total_images=128,
        tick=64,
        batch=16,
        precision="float32",
        latent_size=8,
        condition=CodesCondition(
            categorical=(3,), continuous=(1, 2), posterior=PosteriorConfig(hidden=8, learned_variance=True)
        ),
        terms={
            "categorical_information": CategoricalInformation(),
            "continuous_information": ContinuousInformation(),
        },
        generator=PatchGeneratorConfig(width=4),
        discriminator=PatchDiscriminatorConfig(width=4),
        optimizer=DECAYING,
    )


@pytest.fixture
def cyclegan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TranslationConfig:
    """Twelve steps, of which nine find the pools full; the data lie where GANTRY_DATA_DIR says."""
    _write_noise(tmp_path / "data", monkeypatch, a=3, b=4)
    return TranslationConfig(
        recipe="cyclegan",
        data="noise",
        domain_a="fog",
        domain_b="snow",
        total_images=12,
        tick=6,
        precision="float32",
        pool=3,
        generator=TranslatorConfig(width=2, blocks=1),
        discriminator=PatchConfig(width=2),
        crop=CropConfig(size=32, min_side=32, max_side=40),
        optimizer=DECAYING,
    )


@pytest.fixture
def pix2pix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PairedConfig:
    """Eight steps of two pairs, with dropout and statistics of batches."""
    _write_noise(tmp_path / "data", monkeypatch, a=5, b=5)
    return PairedConfig(
        recipe="pix2pix",
        data="noise",
        domain_a="fog",
        domain_b="snow",
        batch=2,
        total_images=16,
        tick=8,
        precision="float32",
        generator=UNetConfig(width=2, depth=3, norm="batch"),
        discriminator=PatchConfig(width=2, halvings=2),
        crop=CropConfig(size=32, min_side=32, max_side=36),
        optimizer=DECAYING,
    )


def _write_noise(folder: Path, monkeypatch: pytest.MonkeyPatch, **counts: int) -> None:
    """Writes pictures of each domain and says where they are."""
    for domain, count in counts.items():
        place = folder / "noise" / f"train{domain.upper()}"
        place.mkdir(parents=True)
        for number in range(count):
            grey = np.random.default_rng((ord(domain.upper()), number)).normal(128, 60 + 10 * number, (36, 40))
            Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB").save(place / f"{number}.png")
    monkeypatch.setenv("GANTRY_DATA_DIR", str(folder))


@pytest.fixture(
    params=[
        "cgan",
        "infogan",
        "cyclegan",
        "pix2pix",
        *(pytest.param(r, marks=pytest.mark.slow) for r in ("dcgan", "wgan-gp")),
    ]
)
def any_recipe(request: pytest.FixtureRequest, config: GanConfig) -> RunConfig:
    """A run of each recipe in turn."""
    if request.param in ("infogan", "cyclegan", "pix2pix"):
        recipe: RunConfig = request.getfixturevalue(request.param)
        return recipe
    if request.param == "cgan":
        return config
    narrow = {
        "latent_size": 8,
        "generator.width": 4,
        "discriminator.width": 4,
        "precision": "float32",
        "generator.init": "torch",
    }
    recipe = RECIPES[request.param].config("digits").changed({**narrow, "batch": 16})
    return recipe.changed({"total_images": 8 * recipe.step_images, "tick": 4 * recipe.step_images})
