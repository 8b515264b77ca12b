"""The DCGAN's nets are the paper's."""

import pytest
import torch
from torch import nn

from tests.training.nets.kinds import make_discriminator, make_generator


def shapes(net: nn.Module, *inputs: torch.Tensor) -> list[tuple[int, ...]]:
    """Channels and sides of what each convolution gives."""
    found: list[tuple[int, ...]] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda _module, _inputs, output: found.append(tuple(output.shape[1:])))
    net(*inputs)
    return found


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_at_64_pixels_the_generator_has_the_layers_of_the_papers_figure(upsampling: str) -> None:
    """Figure 1, an eighth as wide: 1024 channels of 4 pixels, then 512, 256 and 128, then the picture."""
    net = make_generator("dcgan", 64, 3, condition_size=0, width=128 // 8, upsampling=upsampling)
    assert net.project.out_features == 1024 // 8 * 4 * 4
    assert shapes(net, torch.randn(2, 8)) == [(64, 8, 8), (32, 16, 16), (16, 32, 32), (3, 64, 64)]
    kernels = {module.kernel_size for module in net.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)}
    assert kernels == ({(4, 4)} if upsampling == "transposed" else {(3, 3)})


def test_the_discriminator_halves_to_four_pixels() -> None:
    net = make_discriminator("dcgan", 64, 3, width=8)
    assert shapes(net, torch.randn(2, 3, 64, 64)) == [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]
    assert net.score.in_features == 64 * 4 * 4


def test_only_the_last_layer_of_the_generator_has_a_bias() -> None:
    layers = make_generator("dcgan", 32).layers
    assert [layer.bias is None for layer in layers if isinstance(layer, nn.ConvTranspose2d)] == [True, True, False]
    assert isinstance(layers[0], nn.BatchNorm2d)


def test_after_enlargement_every_place_has_as_many_neighbours() -> None:
    """Away from the border a map of one value stays one, where transposed convolutions leave a checkerboard."""
    spreads = {}
    for upsampling in ("transposed", "resize"):
        layers = make_generator("dcgan", 16, upsampling=upsampling).layers
        enlarged = nn.Sequential(*layers[2 : 4 if upsampling == "resize" else 3])(torch.ones(1, 8, 4, 4))
        spreads[upsampling] = enlarged[..., 2:-2, 2:-2].std((2, 3)).max().item()
    assert spreads["resize"] < 1e-6 < 1e-3 < spreads["transposed"]
