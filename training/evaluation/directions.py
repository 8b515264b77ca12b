"""How well a model translates pictures between two domains, in each direction that it knows."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from training import distributed
from training.data import EVALUABLE_DOMAIN, DomainsDataset, PairedDataset
from training.evaluation.features import FIXED, IMAGENET_CLASSES, extract_features, resized
from training.evaluation.findings import EvaluationError, Findings, share
from training.evaluation.metrics import kernel_distance
from training.evaluation.page import beside, headed
from training.evaluation.pairs import PAIRS_PROTOCOL, measure_pairs
from training.grids import enlarged_grid, to_uint8

_SHOWN, _SHEET_SIDE = 5, 192  # pictures of each domain on the sheet, and their pixels
_INCEPTION_SIDE = 299


def measure_directions(
    generator: nn.Module,
    config: Any,
    test: DomainsDataset,
    device: torch.device,
    inception_weights: Path | None = None,
) -> Findings:
    """Measures each direction on all pictures of the test split; raises EvaluationError if there are too few.

    Inception's distance is taken where the user has torch-fidelity's file of its weights.
    """
    domains, real = (config.domain_a, config.domain_b), (list(test.a), list(test.b))
    if min(map(len, real)) < EVALUABLE_DOMAIN:
        counts = f"{len(test.a)} and {len(test.b)} pictures; an evaluation needs at least {EVALUABLE_DOMAIN} of each"
        raise EvaluationError(f"{test.name}: the test split has {counts}")
    distributed.say(f"looking at {len(test.a)} and {len(test.b)} test pictures…")
    seen = [extract_features(pictures, device) for pictures in real]
    found, sheets = Findings(protocol=_protocol(test, config, inception_weights)), []
    found.add("kid/untranslated", kernel_distance(seen[0].features, seen[1].features))
    for source, there, back in ways_of(generator):
        target = 1 - source
        way = f"{domains[source]}_to_{domains[target]}"
        distributed.say(f"translating {len(real[source])} test pictures, {way.replace('_', ' ')}…")
        floats = [picture.to(device).float() / 127.5 - 1 for picture in real[source]]
        exact = [translate(there, picture, config.multiple) for picture in floats]
        outputs = [to_uint8(picture).cpu() for picture in exact]
        cycled = [to_uint8(translate(back, picture, config.multiple)).cpu() for picture in exact] if back else []
        ours, wanted = extract_features(outputs, device), seen[target].features
        found.add(f"kid/{way}", kernel_distance(ours.features, wanted), kernel_distance(wanted[::2], wanted[1::2]))
        for what, domain in (("top1", target), ("still", source)):
            if label := IMAGENET_CLASSES.get(domains[domain]):
                shares = share(ours.classes == label), share(seen[domain].classes == label)
                found.add(f"{what}_{domains[domain]}/{way}", *shares)
        for name, value in _faithfulness(real[source], outputs, cycled):
            found.add(f"{name}/{way}", value)
        if inception_weights:
            pairs = (real[target], outputs), (real[target][::2], real[target][1::2])
            found.add(f"inception_fid/{way}", *(_inception_distance(*pair, inception_weights) for pair in pairs))
        columns = {"input": real[source], "translated": outputs, "and back": cycled}
        if isinstance(test, PairedDataset):
            measure_pairs(way, real[source], outputs, real[target], found)
            columns["target"] = real[target]
        sheets.append(headed(way.replace("_", " "), translation_sheet(columns)))
    found.panels.append(beside(*sheets))
    return found


def ways_of(generator: nn.Module) -> Iterator[tuple[int, nn.Module, nn.Module | None]]:
    """The directions that a generator knows: its source, 0 for domain A; the net; the net back, if there is one."""
    nets = [getattr(generator, way, None) for way in ("a_to_b", "b_to_a")]
    for source, there in enumerate(nets):
        if there is not None:
            yield source, there, nets[1 - source]


@torch.inference_mode()
def translate(translator: nn.Module, picture: Tensor, multiple: int) -> Tensor:
    """Translates a picture of any size, float32 [3, H, W] in [-1, 1]: reflected to the net's multiple, cropped back."""
    height, width = picture.shape[1:]
    padded = picture[:, _reflected(height, multiple)][:, :, _reflected(width, multiple)]
    translated: Tensor = translator(padded[None])
    return translated[0, :, :height, :width]


def _reflected(side: int, multiple: int) -> Tensor:
    """The places of a side that is reflected at its end, as often as it takes, up to a multiple; as serving does."""
    period = max(1, 2 * (side - 1))
    places = torch.arange(side + -side % multiple) % period
    return torch.minimum(places, period - places)


def translation_sheet(columns: Mapping[str, Sequence[Tensor]]) -> Image.Image:
    """Some pictures spread over the split, uint8 [3, H, W], a row each; columns without any are left out."""
    used = {name: column for name, column in columns.items() if column}
    rows = list(zip(*used.values(), strict=True))
    chosen = rows[:: max(1, len(rows) // _SHOWN)][:_SHOWN]
    tiles = torch.stack([resized(picture, _SHEET_SIDE) for row in chosen for picture in row])
    return enlarged_grid(tiles, columns=len(used), heads=[*used])


def _faithfulness(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], cycled: Sequence[Tensor]
) -> Iterator[tuple[str, float]]:
    """How much of the picture comes back, and whether the translation shifts its colours as a whole."""
    if cycled:
        pairs = zip(inputs, cycled, strict=True)
        errors = [(before.float() - after.float()) / 255 for before, after in pairs]
        yield "cycle_l1", float(torch.stack([error.abs().mean() for error in errors]).mean())
        squares = torch.stack([error.square().mean() for error in errors])
        yield "cycle_psnr_db", float(-10 * squares.clamp_min(1e-10).log10().mean())
    moved = zip(inputs, outputs, strict=True)
    shifts = torch.stack([(after.float() - before.float()).mean((1, 2)) for before, after in moved]).mean(0)
    for channel, shift in zip(("red", "green", "blue"), shifts.tolist(), strict=True):
        yield f"mean_{channel}_shift", shift


def _inception_distance(real: Sequence[Tensor], fake: Sequence[Tensor], weights: Path) -> float:
    import training.torchvision_cpu  # noqa: F401, I001  # torchmetrics imports torchvision
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=str(weights))
    metric.set_dtype(torch.float64)
    for pictures, is_real in ((real, True), (fake, False)):
        for picture in pictures:
            metric.update(resized(picture, _INCEPTION_SIDE)[None], real=is_real)
    return float(metric.compute())


def _protocol(test: DomainsDataset, config: Any, inception_weights: Path | None) -> dict[str, str]:
    sides = sorted({min(picture.shape[1:]) for picture in (*test.a, *test.b)})
    resolution = f"{sides[0]}" if len(sides) == 1 else f"{sides[0]} to {sides[-1]}"
    entries = {
        "data": f"{test.name}: all pictures of the test split, {len(test.a)} {config.domain_a} and {len(test.b)} "
        f"{config.domain_b}",
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
    if isinstance(test, PairedDataset):
        entries |= PAIRS_PROTOCOL
    if inception_weights:
        entries["inception_fid"] = (
            f"torchmetrics with {inception_weights.name}, 2048 features, resized to {_INCEPTION_SIDE} by antialiased "
            "bilinear interpolation; reference: even against odd pictures, a set half as large, which raises it"
        )
    return entries
