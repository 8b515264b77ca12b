"""The CycleGAN's nets: shapes, what a discriminator sees, the normalisation, and checkerboards."""

import itertools

import pytest
import torch
from torch import nn

from training.nets.translator import MULTIPLE, InstanceNorm, PatchConfig, Translator, TranslatorConfig

SIDES = [16, 20, 44, 64]


def make(*, blocks: int = 1, upsampling: str = "transposed", residual: bool = False) -> Translator:
    torch.manual_seed(0)
    return TranslatorConfig(width=2, blocks=blocks, upsampling=upsampling, residual=residual).build()


@pytest.mark.parametrize(("height", "width"), [*itertools.product(SIDES, SIDES)])
def test_a_translation_has_the_size_of_its_picture(height: int, width: int) -> None:
    assert height % MULTIPLE == width % MULTIPLE == 0
    translated = make()(torch.rand(1, 3, height, width) * 2 - 1)
    assert translated.shape == (1, 3, height, width)
    assert translated.dtype == torch.float32
    assert translated.abs().max() <= 1


@pytest.mark.parametrize("blocks", [1, 6, 9])
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("residual", [True, False])
def test_every_shape_of_net_translates_and_learns(blocks: int, upsampling: str, residual: bool) -> None:
    net, pictures = make(blocks=blocks, upsampling=upsampling, residual=residual), torch.rand(2, 3, 16, 24) * 2 - 1
    last = net.layers[-1]
    if residual:
        nn.init.normal_(last.weight)  # which begins at zero, and hides the others until it has moved
    translated = net(pictures)
    assert translated.shape == pictures.shape
    (translated * torch.randn_like(translated)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_blocks_and_width_make_the_papers_size() -> None:
    """Johnson's net with 9 blocks of width 64 has 11.378 million weights, biases apart (of which only one set acts)."""
    with torch.device("meta"):
        net = TranslatorConfig(width=64, blocks=9).build()
    convolutions = 3 * 64 * 49 + 64 * 128 * 9 + 128 * 256 * 9 + 18 * 256 * 256 * 9
    convolutions += 256 * 128 * 9 + 128 * 64 * 9 + 64 * 3 * 49
    assert sum(parameter.numel() for parameter in net.parameters()) == convolutions + 3


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    net, pictures = make(), torch.rand(3, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(net(pictures)[1:2], net(pictures[1:2]))


def test_a_residual_net_begins_with_the_picture_itself() -> None:
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    pictures[:, :, 0], pictures[:, :, 1] = 1, -1  # white and black, where the inverse of tanh would be infinite
    translated = make(residual=True)(pictures)
    torch.testing.assert_close(translated, 0.97 * pictures, rtol=0, atol=1e-6)
    translated.square().sum().backward()


def test_a_net_that_is_not_residual_begins_with_no_picture_in_particular() -> None:
    pictures = torch.rand(1, 3, 16, 16) * 2 - 1
    assert (make()(pictures) - pictures).abs().mean() > 0.1


@pytest.mark.parametrize(("upsampling", "pattern"), [("transposed", True), ("resize", False)])
def test_only_transposed_convolutions_leave_a_checkerboard(upsampling: str, pattern: bool) -> None:
    """An even map stays even under resizing and convolving; under a transposed convolution it gets a grid."""
    doublings = [layer for layer in make(upsampling=upsampling).layers if isinstance(layer, nn.Sequential)][-2:]
    for doubling in doublings:
        without_norm = doubling[:-1]
        channels = next(without_norm.parameters()).shape[1 if upsampling == "resize" else 0]
        enlarged = without_norm(torch.ones(1, channels, 8, 8))
        assert enlarged.shape[2:] == (16, 16)
        inner = enlarged[:, :, 2:-2, 2:-2]
        assert (inner.amax(dim=(2, 3)) - inner.amin(dim=(2, 3)) > 1e-4).any() == pattern


def test_the_normalisation_is_torchs_own() -> None:
    maps = (torch.randn(3, 5, 7, 9) * 4 + 2).requires_grad_()
    ours, theirs = InstanceNorm()(maps), nn.InstanceNorm2d(5)(maps)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(maps)
    gradients = [torch.autograd.grad((normalised * weights).sum(), maps)[0] for normalised in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_the_normalisation_keeps_type_and_memory_format() -> None:
    maps = torch.randn(2, 8, 6, 6, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    normalised = InstanceNorm()(maps)
    assert normalised.dtype == torch.bfloat16
    assert normalised.is_contiguous(memory_format=torch.channels_last)


def test_even_maps_stay_finite() -> None:
    maps = torch.full((1, 2, 4, 4), 3.0, requires_grad=True)
    InstanceNorm()(maps).sum().backward()
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (128, 128), (256, 256), (64, 96)])
@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_the_discriminator_scores_patches(height: int, width: int, halvings: int) -> None:
    scores = PatchConfig(width=2, halvings=halvings).build()(torch.randn(1, 3, height, width))
    assert scores.shape == (1, 1, height // 2**halvings - 2, width // 2**halvings - 2)


@pytest.mark.parametrize(("halvings", "side"), [(1, 16), (2, 34), (3, 70)])
@pytest.mark.parametrize("channels", [3, 6])
def test_a_score_sees_a_patch_of_every_channel(halvings: int, side: int, channels: int) -> None:
    torch.manual_seed(0)
    net = PatchConfig(width=4, halvings=halvings).build(channels)
    # The normalisation's statistics are of the whole picture; without it, what is left is the receptive field.
    net.layers = nn.Sequential(*[layer for layer in net.layers if not isinstance(layer, InstanceNorm)])
    for layer in net.layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.uniform_(layer.weight, 0.1, 1)  # all positive, so that nothing cancels
    pictures = torch.rand(1, channels, 160, 160, requires_grad=True)
    scores = net(pictures)
    middle = scores.shape[2] // 2
    scores[0, 0, middle, middle].backward()
    for seen in pictures.grad[0].abs():
        rows, columns = seen.nonzero().T
        assert rows.max() - rows.min() + 1 == side
        assert columns.max() - columns.min() + 1 == side


def test_every_parameter_of_the_discriminator_learns() -> None:
    net = PatchConfig(width=2).build()
    net(torch.randn(2, 3, 32, 32)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_first_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    for net in (TranslatorConfig(width=16, blocks=2, upsampling="resize").build(), PatchConfig(width=16).build()):
        weights = torch.cat([value.flatten() for name, value in net.named_parameters() if "weight" in name])
        assert weights.std().item() == pytest.approx(0.02, rel=0.02)
        assert abs(weights.mean().item()) < 1e-3
        assert all((value == 0).all() for name, value in net.named_parameters() if "bias" in name)
