"""How well a model translates pictures between two domains, in each direction that it knows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

# isort: off
import training.torchvision_cpu  # noqa: F401  # torchmetrics imports torchvision
from torchmetrics.image.fid import FrechetInceptionDistance
# isort: on

from training.data import UnpairedDataset
from training.evaluation.features import FIXED, IMAGENET_CLASSES, extract_features
from training.evaluation.metrics import kernel_distance
from training.evaluation.page import beside, headed
from training.evaluation.result import Metric
from training.evaluation.subject import Section, Subject, share
from training.grids import enlarged_grid, to_uint8
from training.nets.translator import MULTIPLE

_SHOWN = 5  # pictures of each domain on the sheet
_SHEET_SIDE = 192
_INCEPTION_SIDE = 299


@dataclass(frozen=True)
class Direction:
    """One way of translating, with all pictures it was tried on; each is uint8 [3, H, W].

    Attributes:
        source: Name of the domain that the pictures are of.
        target: Name of the other.
        inputs: The test pictures.
        real: Those of the target.
        outputs: The inputs translated, rounded to bytes as a caller would get them.
        cycled: Translated there and back; empty where the model does not know the way back.
    """

    source: str
    target: str
    inputs: list[Tensor]
    real: list[Tensor]
    outputs: list[Tensor]
    cycled: list[Tensor]

    @property
    def name(self) -> str:
        """For example "horse_to_zebra"."""
        return f"{self.source}_to_{self.target}"


def measure_directions(subject: Subject) -> Section:
    """Measures each direction on all pictures of the test split."""
    config, test = subject.config, subject.load("test")
    directions = translate_all(subject.generator, test, config.domain_a, config.domain_b, subject.device)
    seen = {
        name: extract_features(pictures, subject.device)
        for name, pictures in ((config.domain_a, test.a), (config.domain_b, test.b))
    }
    features_a, features_b = seen[config.domain_a].features, seen[config.domain_b].features
    metrics = [Metric(name="kid/untranslated", value=kernel_distance(features_a, features_b))]
    for direction in directions:
        ours = extract_features(direction.outputs, subject.device)
        real = seen[direction.target].features
        metrics.append(
            Metric(
                name=f"kid/{direction.name}",
                value=kernel_distance(ours.features, real),
                reference=kernel_distance(real[::2], real[1::2]),
            )
        )
        for what, domain in (("top1", direction.target), ("still", direction.source)):
            if domain in IMAGENET_CLASSES:
                wanted = IMAGENET_CLASSES[domain]
                metrics.append(
                    Metric(
                        name=f"{what}_{domain}/{direction.name}",
                        value=share(ours.classes == wanted),
                        reference=share(seen[domain].classes == wanted),
                    )
                )
        metrics += _faithfulness(direction)
        if subject.inception_weights:
            metrics.append(_inception(direction, subject.inception_weights))
    sheets = [
        headed(f"{way.source} to {way.target}", translation_sheet(way.inputs, way.outputs, way.cycled))
        for way in directions
    ]
    return Section(metrics, _protocol(test, config, subject.inception_weights), [beside(*sheets)])


def translate_all(
    generator: nn.Module, test: UnpairedDataset, domain_a: str, domain_b: str, device: torch.device
) -> list[Direction]:
    """Translates all pictures of a split.

    Args:
        generator: Has a_to_b, b_to_a or both; on `device`.
        test: The split.
        domain_a: Name of domain A.
        domain_b: Name of domain B.
        device: Where the generator is.

    Returns:
        The directions that the generator knows.
    """
    a_to_b, b_to_a = (getattr(generator, way, None) for way in ("a_to_b", "b_to_a"))
    ways = ((a_to_b, b_to_a, domain_a, domain_b, test.a, test.b), (b_to_a, a_to_b, domain_b, domain_a, test.b, test.a))
    directions = []
    for there, back, source, target, pictures, real in ways:
        if there is not None:
            exact = [translate(there, picture.to(device).float() / 127.5 - 1) for picture in pictures]
            cycled = [] if back is None else [to_uint8(translate(back, picture)).cpu() for picture in exact]
            outputs = [to_uint8(picture).cpu() for picture in exact]
            directions.append(Direction(source, target, list(pictures), list(real), outputs, cycled))
    return directions


@torch.inference_mode()
def translate(translator: nn.Module, picture: Tensor) -> Tensor:
    """Translates a picture of any size: reflected to the net's multiple, cropped back.

    Args:
        translator: In evaluation mode.
        picture: float32 [3, H, W] in [-1, 1], on the translator's device.

    Returns:
        float32 [3, H, W] in [-1, 1].
    """
    height, width = picture.shape[1:]
    padded = functional.pad(picture[None], (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="reflect")
    translated: Tensor = translator(padded)
    return translated[0, :, :height, :width]


def translation_sheet(*columns: Sequence[Tensor]) -> Image.Image:
    """Some pictures spread over the split, a row each.

    Args:
        *columns: Pictures, uint8 [3, H, W] each; what was translated, what became of it and, if any, the way back.

    Returns:
        A grid with a name above each column.
    """
    used = [column for column in columns if column]
    step = max(1, len(used[0]) // _SHOWN)
    tiles = [_tile(picture) for row in list(zip(*used, strict=True))[::step][:_SHOWN] for picture in row]
    heads = ("input", "translated", "and back")[: len(used)]
    return enlarged_grid(torch.stack(tiles), columns=len(used), heads=heads)


def _tile(picture: Tensor) -> Tensor:
    side = (_SHEET_SIDE, _SHEET_SIDE)
    return functional.interpolate(picture[None].float(), side, mode="bilinear", antialias=True)[0].round().byte()


def _faithfulness(direction: Direction) -> Iterator[Metric]:
    """How much of the picture comes back, and whether the translation shifts its colours as a whole."""
    pairs = list(zip(direction.inputs, direction.cycled, strict=bool(direction.cycled)))
    errors = [(before.float() - after.float()) / 255 for before, after in pairs]
    if errors:
        yield Metric(name=f"cycle_l1/{direction.name}", value=_mean([float(error.abs().mean()) for error in errors]))
        squares = [float(error.square().mean().clamp_min(1e-10)) for error in errors]
        ratios = [float(-10 * torch.tensor(square).log10()) for square in squares]
        yield Metric(name=f"cycle_psnr_db/{direction.name}", value=_mean(ratios))
    moved = zip(direction.inputs, direction.outputs, strict=True)
    shifts = torch.stack([(after.float() - before.float()).mean((1, 2)) for before, after in moved]).mean(0)
    for channel, shift in zip(("red", "green", "blue"), shifts.tolist(), strict=True):
        yield Metric(name=f"mean_{channel}_shift/{direction.name}", value=shift)


def _inception(direction: Direction, weights: Path) -> Metric:
    return Metric(
        name=f"inception_fid/{direction.name}",
        value=_inception_distance(direction.real, direction.outputs, weights),
        reference=_inception_distance(direction.real[::2], direction.real[1::2], weights),
    )


def _inception_distance(real: list[Tensor], fake: list[Tensor], weights: Path) -> float:
    metric = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=str(weights))
    metric.set_dtype(torch.float64)
    for pictures, is_real in ((real, True), (fake, False)):
        for picture in pictures:
            side = (_INCEPTION_SIDE, _INCEPTION_SIDE)
            resized = functional.interpolate(picture[None].float(), side, mode="bilinear", antialias=True)
            metric.update(resized.round().clamp(0, 255).to(torch.uint8), real=is_real)
    return float(metric.compute())


def _protocol(test: UnpairedDataset, config: Any, inception_weights: Path | None) -> dict[str, str]:
    counts = f"{len(test.a)} {config.domain_a} and {len(test.b)} {config.domain_b}"
    sides = sorted({min(picture.shape[1:]) for picture in (*test.a, *test.b)})
    resolution = f"{sides[0]}" if len(sides) == 1 else f"{sides[0]} to {sides[-1]}"
    entries = {
        "data": f"{test.name}: all pictures of the test split, {counts}",
        "resolution": f"translated with a shorter side of {resolution} pixels (larger pictures are shrunk to "
        f"{config.crop.max_side}), float32, rounded to 8 bits",
        "features": FIXED,
        "kid": "KID (EfficientNet-Lite0): unbiased squared MMD, kernel (x.y / 1280 + 1)^3 (Binkowski et al. 2018), "
        "whole sets of unequal sizes: translations against the real target domain; reference: even against odd "
        "pictures of the target domain; untranslated: domain against domain",
        "top1": "share of translations whose first guess is the target's ImageNet class; reference: real pictures",
        "still": "share of translations whose first guess is still the source's; reference: the untranslated",
        "cycle": "there and back without rounding between, means over pictures; L1 of intensities "
        "in 0 to 1, PSNR in dB",
        "colour_cast": "mean over pictures of output minus input per channel, in levels of 0 to 255",
        "seeds": "nothing is random",
    }
    if inception_weights:
        entries["inception_fid"] = (
            f"torchmetrics with {inception_weights.name}, 2048 features, resized to {_INCEPTION_SIDE} by antialiased "
            "bilinear interpolation; reference: even against odd pictures, a set half as large, which raises it"
        )
    return entries


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
