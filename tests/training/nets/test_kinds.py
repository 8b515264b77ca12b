"""What every kind of net answers to: shapes, ranges, conditions, gradients, and the export that an archive needs."""

import pytest
import torch
from torch import nn

from tests.training.nets.kinds import (
    CONDITIONS,
    DISCRIMINATORS,
    GENERATORS,
    config_of,
    largest_singular_values,
    make_discriminator,
    make_generator,
    wake,
)
from tests.training.tiny import gan
from training.config import ConfigError
from training.config.gan import GanConfig
from training.nets.discriminator import ConditionEmbedding
from training.nets.patches import PatchDiscriminatorConfig, PatchGeneratorConfig

SIZES = [(8, 1), (16, 1), (28, 1), (28, 3), (32, 3), (64, 3), (96, 1), (128, 3)]
CONCATENATING = [kind for kind, config in DISCRIMINATORS.items() if "concat" in config.model_fields]
PROJECTING = [kind for kind, config in DISCRIMINATORS.items() if "projection" in config.model_fields]


@pytest.mark.parametrize(("size", "channels"), SIZES)
@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_makes_images_of_the_size(kind: str, size: int, channels: int) -> None:
    images = make_generator(kind, size, channels)(torch.randn(2, 8), CONDITIONS[:2])
    assert images.shape == (2, channels, size, size)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1


@pytest.mark.parametrize(("size", "channels"), SIZES)
@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_a_discriminator_scores_images_of_the_size(kind: str, size: int, channels: int) -> None:
    net = make_discriminator(kind, size, channels)
    scores, features = net(torch.randn(2, channels, size, size))
    assert scores.shape == (2,)
    assert scores.dtype == torch.float32
    assert net.heads["head"](features).shape == (2, 3)


@pytest.mark.parametrize("size", [18, 27, 36, 4])
@pytest.mark.parametrize("kind", ["dcgan", "residual", "r3gan", "autoencoder"])
def test_a_size_that_is_not_halved_to_a_few_pixels_is_refused(kind: str, size: int) -> None:
    for make, kinds in ((make_generator, GENERATORS), (make_discriminator, DISCRIMINATORS)):
        if kind in kinds:
            with pytest.raises(ConfigError, match=rf"--size {size}: .* 4, 5, 6 or 7 times a power of two"):
                make(kind, size)


@pytest.mark.parametrize("embedding", [0, 2])
@pytest.mark.parametrize("kind", GENERATORS)
def test_an_image_follows_latent_and_condition(kind: str, embedding: int) -> None:
    generator, z = wake(make_generator(kind, embedding=embedding)), torch.randn(1, 8)
    first, second = CONDITIONS[:1], CONDITIONS[1:2]
    image = generator(z, first)
    assert torch.equal(image, generator(z, first))
    for other in (generator(z, second), generator(z, (first + second) / 2), generator(-z, first)):
        assert not torch.allclose(image, other, atol=1e-5)
    assert make_generator(kind, condition_size=0)(z).shape == image.shape


@pytest.mark.parametrize("way", ["concat", "projection", ""])
@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_the_condition_reaches_the_score_by_the_chosen_way_alone(kind: str, way: str) -> None:
    if way and kind not in {"concat": CONCATENATING, "projection": PROJECTING}[way]:
        with pytest.raises(ConfigError, match=f"--set discriminator.{way}: there is no setting of this name"):
            gan().changed({"discriminator.kind": kind, f"discriminator.{way}": True})
        return
    net = make_discriminator(kind, **({way: True} if way else {})).eval()
    image = torch.randn(1, 1, 16, 16)
    scores = [net(image, CONDITIONS[label, None])[0] for label in (0, 1)]
    assert torch.equal(*scores) is not bool(way)


@pytest.mark.parametrize("kind", GENERATORS)
def test_every_parameter_of_a_generator_learns(kind: str) -> None:
    net = wake(make_generator(kind, embedding=2)).train()
    (net(torch.randn(4, 8), CONDITIONS[[0, 1, 2, 0]]) * torch.randn(4, 1, 16, 16)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().max() > 1e-7, name


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_every_parameter_of_a_discriminator_learns(kind: str) -> None:
    ways = {way: True for way, kinds in (("concat", CONCATENATING), ("projection", PROJECTING)) if kind in kinds}
    net = wake(make_discriminator(kind, norm="none", **ways))
    scores, features = net(torch.randn(4, 1, 16, 16), CONDITIONS[[0, 1, 2, 0]])
    (scores.square().sum() + net.heads["head"](features).square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().max() > 1e-7, name


@pytest.mark.parametrize("kind", [kind for kind in DISCRIMINATORS if kind != "r3gan"])
def test_spectral_norm_holds_the_largest_singular_value_of_every_weight_at_one(kind: str) -> None:
    projection = {"projection": True} if kind in PROJECTING else {}
    net = make_discriminator(kind, size=8, norm="spectral", init="torch", **projection)
    held = largest_singular_values(net)
    matrices = nn.Linear | nn.Conv2d | nn.ConvTranspose2d | ConditionEmbedding
    assert held.keys() == {name for name, module in net.named_modules() if isinstance(module, matrices)} - {
        "heads.head"
    }
    for _ in range(300):  # each pass in training mode is one power iteration
        net(torch.randn(1, 1, 8, 8), CONDITIONS[:1])
    net.eval()
    assert largest_singular_values(net) == pytest.approx(dict.fromkeys(held, 1), abs=1e-3)


@pytest.mark.parametrize("norm", ["none", "spectral", "batch", "layer", "weight"])
@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_only_batch_norm_makes_a_score_depend_on_the_other_images(kind: str, norm: str) -> None:
    if kind == "r3gan" and norm != "none":
        with pytest.raises(ConfigError, match="must be 'none'"):
            gan().changed({"discriminator.kind": kind, "discriminator.norm": norm})
        return
    net, images = make_discriminator(kind, norm=norm), torch.randn(4, 1, 16, 16)
    for layer in net.modules():
        if hasattr(layer, "parametrizations"):
            layer.eval()  # else every pass is another power iteration
    torch.testing.assert_close(net(images)[0][:2], net(images)[0][:2])
    assert torch.allclose(net(images[:2])[0], net(images)[0][:2], atol=1e-5) is (norm != "batch")


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_exports_with_a_dynamic_batch(kind: str) -> None:
    generator = wake(make_generator(kind))
    batch = torch.export.Dim("batch", min=1, max=64)
    example = (torch.randn(2, 8), CONDITIONS[:2])
    program = torch.export.export(generator, example, dynamic_shapes=({0: batch}, {0: batch}))
    for count in (1, 7):
        z, conditions = torch.randn(count, 8), torch.rand(count, 3)
        torch.testing.assert_close(program.module()(z, conditions), generator(z, conditions))


@pytest.mark.parametrize("kind", [kind for kind in DISCRIMINATORS if kind not in ("patches", "autoencoder")])
def test_a_kind_is_chosen_by_name_and_survives_json(kind: str) -> None:
    changed = gan().changed({"generator.kind": kind, "discriminator.kind": kind, "generator.embedding": 3})
    assert changed.generator == GENERATORS[kind](embedding=3)
    assert changed.discriminator == DISCRIMINATORS[kind]()
    assert GanConfig.model_validate_json(changed.model_dump_json()) == changed
    assert changed.changed({"generator.kind": "patches"}).generator == PatchGeneratorConfig()


def test_nets_without_a_kind_are_of_patches() -> None:
    """As in the configurations of archives that were made before there were others."""
    values = gan().model_dump() | {"generator": {"width": 6}, "discriminator": {"width": 3}}
    config = GanConfig.parse(values)
    assert (config.generator, config.discriminator) == (
        PatchGeneratorConfig(width=6), PatchDiscriminatorConfig(width=3)
    )  # fmt: skip
    values["generator"]["width"] = 0
    with pytest.raises(ConfigError, match=r"^--set generator\.width=0: must be at least"):
        GanConfig.parse(values)


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"--set generator\.kind=vae: must be one of 'patches', 'perceptron'"):
        gan().changed({"generator.kind": "vae"})


def test_settings_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set generator\.hidden: there is no setting of this name"):
        gan().changed({"generator.kind": "dcgan", "generator.hidden": "8"})


@pytest.mark.parametrize("kind", ["perceptron", "dcgan"])
def test_first_weights_are_drawn_as_they_are_asked_for(kind: str) -> None:
    net = make_generator(kind, init="normal", **({"width": 16} if kind == "dcgan" else {"hidden": (64, 64)}))
    layers = [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d | nn.Linear)]
    assert torch.cat([layer.weight.flatten() for layer in layers]).std().item() == pytest.approx(0.02, rel=0.05)
    assert config_of(GENERATORS[kind]).init == ("normal" if kind == "dcgan" else "torch")
