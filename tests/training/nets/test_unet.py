"""The U-Net: sizes, what passes beside the middle, its normalisations, dropout, and that a worker can run it."""

import io
import itertools

import pytest
import torch
from torch import nn

from services.worker.execution import FLOAT32
from services.worker.graph import load_graph
from services.worker.lowering import prepare, run_graph
from training.archive.export import export_translator
from training.nets.unet import UNet, UNetConfig


def make(depth: int = 3, norm: str = "instance", **settings: object) -> UNet:
    torch.manual_seed(0)
    return UNetConfig(**{"width": 2, "depth": depth, "norm": norm, **settings}).build()


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def drawn(net: UNet, count: int, side: int, seed: int = 0) -> dict[str, torch.Tensor]:
    return net.draw_dropout(count, side, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("depth", [2, 3, 5, 8])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_translation_has_the_size_of_its_picture(depth: int, norm: str) -> None:
    net = make(depth, norm).eval()
    unit = UNetConfig(depth=depth).multiple
    for rows, columns in itertools.product((1, 2), (1, 3)):
        translated = net(pictures(1, rows * unit, columns * unit))
        assert translated.shape == (1, 3, rows * unit, columns * unit)
        assert translated.dtype == torch.float32
        assert translated.abs().max() <= 1


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("count", [1, 2])
def test_every_parameter_learns(depth: int, norm: str, upsampling: str, count: int) -> None:
    """Also from one picture that comes to one point in the middle, where nothing could be normalised."""
    net, unit = make(depth, norm, upsampling=upsampling), UNetConfig(depth=depth).multiple
    translated = net(pictures(count, unit, unit), drawn(net, count, unit))
    (translated * torch.randn_like(translated)).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_papers_net_has_its_size() -> None:
    """54.4 million weights at width 64 and depth 8."""
    widths = [64, 128, 256, 512, 512, 512, 512, 512]
    encoder = 16 * sum(before * after for before, after in itertools.pairwise([3, *widths]))
    decoder = 16 * (512 * 512 + 3 * 1024 * 512 + 1024 * 256 + 512 * 128 + 256 * 64 + 128 * 3)
    biases = 64 + 512 + 3  # of the layers that are not normalised
    scales = 2 * sum([*widths[1:-1], *widths[:-1]])
    for norm, more in (("instance", 0), ("batch", scales)):
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in UNetConfig(norm=norm).build().parameters())
        assert count == encoder + decoder + biases + more
        assert 54.3e6 < count < 54.5e6


@pytest.mark.parametrize(("upsampling", "pattern"), [("transposed", True), ("resize", False)])
def test_only_transposed_convolutions_leave_a_grid(upsampling: str, pattern: bool) -> None:
    """An even map stays even under resizing and convolving; under a transposed convolution it gets a grid."""
    last = make(upsampling=upsampling).decoder[-1]
    enlarged = last(torch.ones(1, 4, 8, 8))
    assert enlarged.shape == (1, 3, 16, 16)
    inner = enlarged[:, :, 2:-2, 2:-2]
    assert (inner.amax(dim=(2, 3)) - inner.amin(dim=(2, 3)) > 1e-4).any() == pattern


def test_the_decoder_sees_what_the_encoder_saw() -> None:
    """Though all that comes from below is lost, the picture still decides what is made of it."""
    net = make(4).eval()
    shown = pictures(2, 32, 32)
    for layer in net.decoder[:-1]:
        nn.init.zeros_(layer[0].weight)
    first, second = net(shown)
    assert (first - second).abs().max() > 0


def test_a_picture_that_comes_to_a_point_is_seen_in_whole() -> None:
    net = make(5, width=8)
    shown = pictures(1, 32, 32).requires_grad_()
    net(shown)[0, :, 0, 0].sum().backward()
    assert shown.grad[0, :, -1, -1].abs().sum() > 0


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    shown = pictures(3, 16, 16)
    for net in (make(), make(norm="batch").eval()):
        torch.testing.assert_close(net(shown)[1:2], net(shown[1:2]))


def test_dropout_drops_its_share_next_to_the_middle_and_keeps_the_mean() -> None:
    net = make(5, dropout=0.3, width=8)
    masks = drawn(net, 4, 64)
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == {
        "0": (4, 64, 4, 4),
        "1": (4, 32, 8, 8),
        "2": (4, 16, 16, 16),
    }
    for mask in masks.values():
        assert mask.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (masks["2"] == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert masks["2"].mean().item() == pytest.approx(1, abs=0.03)


def test_what_is_dropped_follows_from_the_source_and_shows_in_training_alone() -> None:
    net, shown = make(), pictures(2, 16, 16)
    first, again, other = (net(shown, drawn(net, 2, 16, seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(net(shown), net(shown))  # whatever the mode
    assert not torch.equal(net(shown), first)


def test_without_dropout_nothing_is_drawn() -> None:
    assert drawn(make(dropout=0), 2, 16) == {}


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_a_residual_net_begins_with_the_picture_itself(upsampling: str) -> None:
    shown = pictures(2, 16, 16)
    translated = make(residual=True, upsampling=upsampling)(shown)
    torch.testing.assert_close(translated, 0.97 * shown, rtol=0, atol=1e-6)
    assert (make()(shown) - shown).abs().mean() > 0.1


def test_first_weights_are_the_papers() -> None:
    net = make(4, width=16)
    weights = torch.cat([value.flatten() for name, value in net.named_parameters() if "weight" in name])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert all((value == 0).all() for name, value in net.named_parameters() if "bias" in name)


@pytest.mark.parametrize(("depth", "norm"), [(2, "batch"), (5, "instance")])
def test_a_worker_runs_what_is_exported_at_every_size(depth: int, norm: str) -> None:
    net = make(depth, norm, upsampling="resize" if norm == "batch" else "transposed").eval()
    for layer in net.modules():  # as untrained the picture would hardly differ from grey
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.1)
    unit = UNetConfig(depth=depth).multiple
    program = export_translator(net, unit)
    assert torch.export.load(io.BytesIO(program)) is not None
    graph = prepare(load_graph(program), FLOAT32)
    least = -(-16 // unit)
    for rows, columns in ((least, least), (least + 1, least), (least + 1, least + 2)):
        shown = pictures(1, rows * unit, columns * unit)
        made = run_graph(graph, shown.permute(0, 2, 3, 1).contiguous().numpy())
        with torch.inference_mode():
            wanted = net(shown).permute(0, 2, 3, 1)
        torch.testing.assert_close(torch.from_numpy(made), wanted, rtol=0, atol=1e-4)
