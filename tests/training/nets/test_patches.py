"""The conditional nets: shapes, ranges, what the label does, and the export that an archive needs."""

import itertools

import pytest
import torch
from torch import nn

from training.nets.discriminator import ConditionEmbedding, Discriminator
from training.nets.patches import PatchDiscriminatorConfig, PatchGenerator, PatchGeneratorConfig

CONDITIONS = torch.eye(3)  # of three classes
NORMS = ["none", "spectral", "batch", "layer", "weight"]


def make_generator(size: int = 16, channels: int = 1, condition_size: int = 3, **changes) -> PatchGenerator:
    torch.manual_seed(0)
    config = PatchGeneratorConfig(**{"width": 4, **changes})
    return config.build(latent_size=8, condition_size=condition_size, channels=channels, size=size).eval()


def make_discriminator(size: int = 16, channels: int = 1, *, head: bool = False, **changes) -> Discriminator:
    torch.manual_seed(0)
    config = PatchDiscriminatorConfig(**{"width": 4, "concat": True, "projection": True, **changes})

    def heads(features: int) -> dict[str, nn.Module]:
        return {"head": nn.Linear(features, 3)} if head else {}

    return config.build(condition_size=3, channels=channels, size=size, heads=heads)


@pytest.mark.parametrize(("size", "channels"), [*itertools.product([8, 14, 16, 28, 32, 64, 128], [1, 3])])
def test_both_nets_fit_the_image(size: int, channels: int) -> None:
    labels = torch.tensor([0, 1, 2, 2, 0])
    images = make_generator(size, channels)(torch.randn(5, 8), CONDITIONS[labels])
    assert images.shape == (5, channels, size, size)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    scores, features = make_discriminator(size, channels)(images, CONDITIONS[labels])
    assert scores.shape == (5,)
    assert scores.dtype == torch.float32
    assert features.shape == (5, make_discriminator(size, channels).score.in_features)


def test_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="must be even, got 27"):
        make_generator(27)
    with pytest.raises(ValueError, match="must be even, got 27"):
        make_discriminator(27)


def test_generator_follows_latent_and_condition() -> None:
    generator, z = make_generator(), torch.randn(1, 8)
    first, second = CONDITIONS[:1], CONDITIONS[1:2]
    image = generator(z, first)
    assert torch.equal(image, generator(z, first))
    for other in (
        generator(z, second),
        generator(z, (first + second) / 2),
        generator(z, 2 * first),
        generator(torch.randn(1, 8), first),
    ):
        assert not torch.allclose(image, other, atol=1e-4)


@pytest.mark.parametrize(
    ("concat", "projection", "follows"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_the_label_reaches_the_score_only_by_the_chosen_ways(concat: bool, projection: bool, follows: bool) -> None:
    discriminator = make_discriminator(concat=concat, projection=projection).eval()
    image = torch.randn(1, 1, 16, 16)
    scores = [discriminator(image, CONDITIONS[label, None])[0] for label in (0, 1)]
    assert torch.allclose(*scores) is not follows


def test_without_a_condition_neither_net_asks_for_one() -> None:
    images = make_generator(condition_size=0)(torch.randn(5, 8))
    scores, _ = make_discriminator(concat=False, projection=False)(images)
    assert scores.shape == (5,)


def test_concatenation_equals_label_planes_beside_the_input() -> None:
    """The claim in the net's comment: away from the border, planes are one number a class and output channel."""
    discriminator = make_discriminator(norm="none")
    convolution, embedding = discriminator.trunk.layers[0], discriminator.trunk.concatenated[0]
    with_planes = nn.Conv2d(4 + 3, 4, kernel_size=3, padding=1)
    with torch.no_grad():
        with_planes.bias.copy_(convolution.bias)
        with_planes.weight[:, :4] = convolution.weight
        with_planes.weight[:, 4:] = embedding.weight.T[:, :, None, None] / 9  # the nine taps add up to it
    maps, labels = torch.randn(3, 4, 8, 8), torch.tensor([2, 0, 1])
    planes = nn.functional.one_hot(labels, 3).float()[:, :, None, None].expand(-1, -1, 8, 8)
    expected = with_planes(torch.cat([maps, planes], dim=1))[..., 1:-1, 1:-1]
    torch.testing.assert_close(
        (convolution(maps) + embedding(CONDITIONS[labels])[:, :, None, None])[..., 1:-1, 1:-1], expected
    )


def seen_by_features(net: Discriminator) -> dict[str, nn.Module]:
    """Every layer with a weight matrix but heads, and the labels that are only added."""
    layers = {
        name: layer
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear | ConditionEmbedding)
    }
    return {name: layer for name, layer in layers.items() if not name.startswith(("heads.", "trunk.concatenated."))}


@pytest.mark.parametrize("channels", [1, 3])
def test_spectral_norm_holds_the_largest_singular_value_of_every_weight_at_one(channels: int) -> None:
    net = make_discriminator(channels=channels, head=True)
    images, conditions = torch.randn(2, channels, 16, 16), CONDITIONS[:2]
    for _ in range(300):  # each pass in training mode is one power iteration
        net(images, conditions)
    net.eval()
    layers = seen_by_features(net)
    assert {"score", "projection", "trunk.layers.0", "trunk.layers.1"} <= layers.keys()
    for name, layer in layers.items():
        largest = torch.linalg.svdvals(layer.weight.detach().flatten(1)).max()
        assert largest.item() == pytest.approx(1, abs=1e-3), name


def test_without_spectral_norm_weights_are_parameters_as_they_are() -> None:
    for norm in ("none", "batch", "layer"):
        net = make_discriminator(norm=norm)
        assert all(isinstance(layer.weight, nn.Parameter) for layer in seen_by_features(net).values())


@pytest.mark.parametrize("norm", NORMS)
def test_the_norm_stands_behind_every_convolution_but_the_first(norm: str) -> None:
    kinds = dict.fromkeys(NORMS, nn.Identity) | {"batch": nn.BatchNorm2d, "layer": nn.GroupNorm}
    norms = make_discriminator(norm=norm).trunk.norms
    assert len(norms) == 3
    assert isinstance(norms[0], nn.Identity)
    assert all(isinstance(layer, kinds[norm]) for layer in norms[1:])


@pytest.mark.parametrize("norm", NORMS)
def test_only_batch_norm_makes_a_score_depend_on_the_other_images(norm: str) -> None:
    net = make_discriminator(norm=norm)
    images, conditions = torch.randn(4, 1, 16, 16), CONDITIONS[[0, 1, 2, 0]]
    net(images, conditions)
    for layer in net.modules():
        if hasattr(layer, "parametrizations"):
            layer.eval()  # else every pass is another power iteration
    alone, together = net(images[:2], conditions[:2])[0], net(images, conditions)[0][:2]
    assert torch.allclose(alone, together, atol=1e-5) is (norm != "batch")


def test_a_layer_norm_is_over_all_channels_and_places_of_an_image() -> None:
    layer = make_discriminator(norm="layer").trunk.norms[1]
    maps = torch.randn(3, 8, 4, 4) * 5 + 2
    torch.testing.assert_close(layer(maps), nn.functional.layer_norm(maps, maps.shape[1:]))


def test_weight_normalisation_learns_lengths_apart_from_directions() -> None:
    for name, layer in seen_by_features(make_discriminator(norm="weight")).items():
        length, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
        rows = torch.nn.functional.normalize(direction.flatten(1), dim=1)
        torch.testing.assert_close(layer.weight.flatten(1), length.flatten(1) * rows, msg=name)


def test_first_weights_of_dcgan_are_normal() -> None:
    for net in (make_generator(width=32, init="normal"), make_discriminator(width=32, norm="batch", init="normal")):
        layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
        weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
        assert weights.std().item() == pytest.approx(0.02, rel=0.01)
        assert abs(weights.mean().item()) < 1e-3
        assert all(not layer.bias.any() for layer in layers if layer.bias is not None)
        scales = torch.cat([m.weight.detach() for m in net.modules() if isinstance(m, nn.BatchNorm2d)])
        assert scales.mean().item() == pytest.approx(1, abs=0.01)
        assert scales.std().item() == pytest.approx(0.02, rel=0.3)


def test_torchs_own_first_weights_are_others() -> None:
    """The spread that a plain DCGAN must not have: it follows the layers' sizes."""
    spreads = [layer.weight.std().item() for layer in make_discriminator(width=32, norm="batch").trunk.layers]
    assert max(spreads) / min(spreads) > 2


@pytest.mark.parametrize("norm", NORMS)
def test_every_parameter_of_both_nets_learns(norm: str) -> None:
    generator = make_generator().train()
    discriminator = make_discriminator(head=True, norm=norm)
    scores, features = discriminator(generator(torch.randn(3, 8), CONDITIONS), CONDITIONS)
    (scores.square().sum() + discriminator.heads["head"](features).square().sum()).backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None, name
        # A bias in front of a batch normalisation has no effect.
        if norm != "batch" or not (name.startswith("trunk.layers") and name.endswith("bias")):
            assert parameter.grad.abs().sum() > 0, name


def test_generator_exports_with_a_dynamic_batch() -> None:
    generator = make_generator(28)
    example = (torch.randn(2, 8), CONDITIONS[:2])
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(generator, example, dynamic_shapes=({0: batch}, {0: batch}))
    for count in (1, 7):
        z, conditions = torch.randn(count, 8), torch.rand(count, 3)
        torch.testing.assert_close(program.module()(z, conditions), generator(z, conditions))
