"""The conditional nets: shapes, ranges, what the label does, and the export that an archive needs."""

import itertools

import pytest
import torch
from torch import nn

from training.nets.dcgan import Discriminator, Generator

CONDITIONS = torch.eye(3)  # of three classes


def make_generator(size: int = 16, channels: int = 1) -> Generator:
    torch.manual_seed(0)
    return Generator(condition_size=3, channels=channels, size=size, latent_size=8, width=4).eval()


def make_discriminator(size: int = 16, channels: int = 1, **changes) -> Discriminator:
    torch.manual_seed(0)
    options = {"concat": True, "projection": True, "classifier": False, "normalise": True, **changes}
    return Discriminator(classes=3, channels=channels, size=size, width=4, **options)


@pytest.mark.parametrize(("size", "channels"), [*itertools.product([8, 14, 16, 28, 32, 64], [1, 3])])
def test_both_nets_fit_the_image(size: int, channels: int) -> None:
    labels = torch.tensor([0, 1, 2, 2, 0])
    images = make_generator(size, channels)(torch.randn(5, 8), CONDITIONS[labels])
    assert images.shape == (5, channels, size, size)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    scores, logits = make_discriminator(size, channels)(images, labels)
    assert scores.shape == (5,)
    assert logits is None


def test_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="must be even, got 27"):
        make_generator(27)


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
    scores = [discriminator(image, torch.tensor([label]))[0] for label in (0, 1)]
    assert torch.allclose(*scores) is not follows


def test_the_classifier_is_not_told_the_label() -> None:
    discriminator = make_discriminator(concat=False, classifier=True).eval()
    image = torch.randn(1, 1, 16, 16)
    logits = [discriminator(image, torch.tensor([label]))[1] for label in (0, 1)]
    assert logits[0].shape == (1, 3)
    assert torch.equal(*logits)


def test_concatenation_equals_label_planes_beside_the_input() -> None:
    """The claim in the net's comment: away from the border, planes are one number a class and output channel."""
    discriminator = make_discriminator(normalise=False)
    convolution, embedding = discriminator.convolutions[0], discriminator.concatenated[0]
    with_planes = nn.Conv2d(4 + 3, 4, kernel_size=3, padding=1)
    with torch.no_grad():
        with_planes.bias.copy_(convolution.bias)
        with_planes.weight[:, :4] = convolution.weight
        with_planes.weight[:, 4:] = embedding.weight.T[:, :, None, None] / 9  # the nine taps add up to it
    maps, labels = torch.randn(3, 4, 8, 8), torch.tensor([2, 0, 1])
    planes = nn.functional.one_hot(labels, 3).float()[:, :, None, None].expand(-1, -1, 8, 8)
    expected = with_planes(torch.cat([maps, planes], dim=1))[..., 1:-1, 1:-1]
    torch.testing.assert_close((convolution(maps) + embedding(labels)[:, :, None, None])[..., 1:-1, 1:-1], expected)


def test_spectral_norm_holds_the_largest_singular_value_at_one() -> None:
    discriminator = make_discriminator()
    images, labels = torch.randn(2, 1, 16, 16), torch.tensor([0, 1])
    for _ in range(50):  # each pass in training mode is one power iteration
        discriminator(images, labels)
    discriminator.eval()
    for layer in [*discriminator.convolutions, discriminator.score, discriminator.projection]:
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=0.02)


def test_every_parameter_of_both_nets_learns() -> None:
    generator, labels = make_generator().train(), torch.tensor([0, 1, 2])
    discriminator = make_discriminator(concat=False, classifier=True)
    scores, logits = discriminator(generator(torch.randn(3, 8), CONDITIONS), labels)
    (scores.square().sum() + logits.square().sum()).backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_generator_exports_with_a_dynamic_batch() -> None:
    generator = make_generator(28)
    example = (torch.randn(2, 8), CONDITIONS[:2])
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(generator, example, dynamic_shapes=({0: batch}, {0: batch}))
    for count in (1, 7):
        z, conditions = torch.randn(count, 8), torch.rand(count, 3)
        torch.testing.assert_close(program.module()(z, conditions), generator(z, conditions))
