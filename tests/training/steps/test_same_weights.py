"""Thirty steps of each kind of model give the weights that they always gave, bit for bit.

The digests were made before the steps became one (that of the cgan anew when a discriminator's first weights came to be
drawn in another order); a change of code that must not change numbers is held to them. Other processors and versions of
torch round otherwise: there these tests skip, as told by the digest of a small computation.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training import seeds
from training.conditions import CodesCondition, LabelCondition
from training.config import CropConfig, OptimizerConfig, RunConfig
from training.config.gan import GanConfig
from training.config.translation import TranslationConfig
from training.data import ImageDataset, UnpairedDataset
from training.engine.loop import _step
from training.engine.schedule import learning_rate_factor
from training.engine.statistics import Statistics
from training.nets.patches import PatchDiscriminatorConfig, PatchGeneratorConfig
from training.nets.posterior import PosteriorConfig
from training.nets.translator import PatchConfig, TranslatorConfig
from training.terms.classifier import AuxiliaryClassifier
from training.terms.equivariance import Equivariance
from training.terms.information import CategoricalInformation, ContinuousInformation
from training.terms.invariance import Invariance

ARITHMETIC = "7f1a91e9d4adef3739cd16ce7d38fe76"
DIGESTS = {
    "cgan": "1ffc4341ea717c5457b10e73056a354d",
    "cgan with classifier": "be4f5922085c9e381fc60670345fbe07",
    "infogan": "be4b56c5c615a6910d0f0e99d0981c77",
    "cyclegan": "3f00fad2ce5c2f560026347dfbe7251d",
}
STEPS = 30
CPU = torch.device("cpu")

CONFIGS: dict[str, RunConfig] = {
    "cgan": GanConfig(
        recipe="cgan", data="squares", total_images=480, tick=480, batch=16, precision="float32", seed=5,
        latent_size=8, condition=LabelCondition(),
        generator=PatchGeneratorConfig(width=8),
        discriminator=PatchDiscriminatorConfig(width=8, concat=True, projection=True),
    ),
    "cgan with classifier": GanConfig(
        recipe="cgan", data="squares", total_images=480, tick=480, batch=16, precision="float32", seed=5,
        latent_size=8, condition=LabelCondition(), terms={"classifier": AuxiliaryClassifier(weight=0.2)},
        generator=PatchGeneratorConfig(width=8),
        discriminator=PatchDiscriminatorConfig(width=8, projection=True),
    ),
    "infogan": GanConfig(
        recipe="infogan", data="squares", total_images=480, tick=480, batch=16, precision="float32", seed=5,
        latent_size=8, condition=CodesCondition(posterior=PosteriorConfig(hidden=16)),
        terms={
            "categorical_information": CategoricalInformation(weight=1),
            "continuous_information": ContinuousInformation(weight=1),
            "invariance": Invariance(weight=2),
            "equivariance": Equivariance(weight=4),
        },
        generator=PatchGeneratorConfig(width=8),
        discriminator=PatchDiscriminatorConfig(width=8),
        optimizer=OptimizerConfig(decay_start=0.25),
    ),
    "cyclegan": TranslationConfig(
        recipe="cyclegan", data="noise", domain_a="fog", domain_b="snow", total_images=30, tick=30, seed=5,
        precision="float32", pool=3,
        generator=TranslatorConfig(width=2, blocks=1),
        discriminator=PatchConfig(width=2),
        crop=CropConfig(size=32, min_side=32, max_side=40),
        optimizer=OptimizerConfig(decay_start=0.25),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIGESTS)
def test_thirty_steps_give_the_weights_that_they_always_gave(name: str) -> None:
    if digest(probe()) != ARITHMETIC:
        pytest.skip("this processor or this version of torch rounds otherwise than that which made the digests")
    config = CONFIGS[name]
    torch.manual_seed(seeds.derive_seed(config.seed, "weights"))
    model = config.build(noise() if name == "cyclegan" else squares(), CPU)
    for step in range(STEPS):
        rate = learning_rate_factor(config, step * config.batch)
        _step(model.phases, step, model.batches(step), rate, torch.autocast("cpu", enabled=False), Statistics(CPU))
    assert weights_digest(phase.module for phase in model.phases) == DIGESTS[name]


def weights_digest(nets: Iterable[nn.Module]) -> str:
    """Of all weights and buffers, whatever their names and order."""
    digests = sorted(hashlib.sha256(raw(value)).hexdigest() for net in nets for value in net.state_dict().values())
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:32]


def digest(values: Iterable[Tensor]) -> str:
    return hashlib.sha256(b"".join(map(raw, values))).hexdigest()[:32]


def raw(value: Tensor) -> bytes:
    return value.detach().contiguous().numpy().tobytes()


def probe() -> list[Tensor]:
    """A convolution and a matrix product, forwards and back."""
    torch.manual_seed(0)
    images = torch.randn(16, 8, 14, 14).contiguous(memory_format=torch.channels_last).requires_grad_()
    convolution = nn.Conv2d(8, 16, 4, 2, 1).to(memory_format=torch.channels_last)
    product = nn.Linear(784, 10)
    product(convolution(images).flatten(1)).square().sum().backward()
    gradients = [images.grad, convolution.weight.grad, product.weight.grad]
    assert all(gradient is not None for gradient in gradients)
    return [gradient for gradient in gradients if gradient is not None]


def squares() -> ImageDataset:
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 256, (200, 1, 16, 16), dtype=np.uint8))
    return ImageDataset("squares", "train", images, torch.arange(200) % 10, tuple("0123456789"), "none")


def noise() -> UnpairedDataset:
    def domain(seed: int, count: int) -> list[Tensor]:
        random = np.random.default_rng(seed)
        return [torch.from_numpy(random.integers(0, 256, (3, 36, 40), dtype=np.uint8)) for _ in range(count)]

    return UnpairedDataset("noise", "train", domain(1, 3), domain(2, 4))
