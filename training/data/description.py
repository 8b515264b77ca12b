"""Says what is trained on, before it is."""

from collections.abc import Mapping

from torch import Tensor

from training.data.dataset import EVALUABLE, ImageDataset, Split
from training.data.domains import EVALUABLE_DOMAIN, DomainsDataset
from training.data.paired import PairedDataset

_SHOWN = 10  # names of classes, and of attributes


def describe(dataset: ImageDataset | DomainsDataset) -> str:
    """Describes a training split and what it was taken from, in one or two lines."""
    if isinstance(dataset, DomainsDataset):
        is_paired = isinstance(dataset, PairedDataset)
        what = "pairs" if is_paired else "pictures"
        a, b = (_counted(*each, what) for each in zip((len(dataset.a), len(dataset.b)), dataset.counts, strict=True))
        text = f"{a if is_paired else f'A: {a}; B: {b}'}; RGB, each of its own size"
        in_memory = isinstance(dataset.a, list)
        small = any(each.get("test", EVALUABLE_DOMAIN) < EVALUABLE_DOMAIN for each in dataset.counts)
        needed = f"{EVALUABLE_DOMAIN} test pictures of each domain"
    else:
        _, channels, _, size = dataset.images.shape
        kind = f"{'grey' if channels == 1 else 'RGB'}, {'cropped and resized to ' if dataset.resized else ''}"
        known = _listed("classes", dataset.class_names) or "no classes"
        if dataset.attribute_meanings:
            known += f", {_listed('attributes', tuple(dataset.attribute_meanings))}"
        text = f"{_counted(len(dataset), dataset.counts)}, {kind}{size}×{size}, {known}"
        in_memory = isinstance(dataset.images, Tensor)
        small = any(count < EVALUABLE for split, count in dataset.counts.items() if split != "train")
        needed = f"{EVALUABLE} validation and {EVALUABLE} test pictures"
    too_small = f"; too small to evaluate, which takes at least {needed}" if small else ""
    streamed = "" if in_memory else "\ntoo many to be held in memory: decoded while they are trained on"
    return f"{dataset.name}: {text}{too_small}{streamed}"


def _counted(count: int, counts: Mapping[Split, int], what: str = "pictures") -> str:
    held = ", ".join(f"{counts[split]:,} {split}" for split in ("validation", "test") if split in counts)
    return f"{count:,} of {sum(counts.values()):,} {what} to train on ({held})" if held else f"{count:,} to train on"


def _listed(what: str, names: tuple[str, ...]) -> str:
    more = ", …" if len(names) > _SHOWN else ""
    return f"{len(names):,} {what}: {', '.join(names[:_SHOWN])}{more}" if names else ""
