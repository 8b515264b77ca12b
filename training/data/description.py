"""Says what is trained on, before it is."""

from collections.abc import Mapping

from torch import Tensor

from training.data.dataset import ImageDataset, Split
from training.data.unpaired import UnpairedDataset

_CLASSES_SHOWN = 10


def describe(dataset: ImageDataset | UnpairedDataset) -> str:
    """Describes a training split and what it was taken from.

    Args:
        dataset: As `load` or `load_unpaired` gave it.

    Returns:
        One or two lines.
    """
    if isinstance(dataset, UnpairedDataset):
        a, b = ({split: both[place] for split, both in dataset.counts.items()} for place in (0, 1))
        lines = f"A: {_counted(len(dataset.a), a)}; B: {_counted(len(dataset.b), b)}; RGB, each of its own size"
        return f"{dataset.name}: {lines}{_streamed(not isinstance(dataset.a, list))}"
    _, channels, _, size = dataset.images.shape
    kind = "grey" if channels == 1 else "RGB"
    resized = "cropped and resized to " if dataset.resized else ""
    parts = [_counted(len(dataset), dataset.counts), kind, f"{resized}{size}×{size}", _classes(dataset.class_names)]
    return f"{dataset.name}: {', '.join(parts)}{_streamed(not isinstance(dataset.images, Tensor))}"


def _counted(count: int, counts: Mapping[Split, int]) -> str:
    held = [f"{counts[split]:,} {split}" for split in ("validation", "test") if split in counts]
    whole = f" of {sum(counts.values()):,}" if held else ""
    return f"{count:,}{whole} pictures to train on" + (f" ({', '.join(held)})" if held else "")


def _classes(names: tuple[str, ...]) -> str:
    if not names:
        return "no classes"
    more = ", …" if len(names) > _CLASSES_SHOWN else ""
    return f"{len(names):,} classes: {', '.join(names[:_CLASSES_SHOWN])}{more}"


def _streamed(streamed: bool) -> str:
    return "\ntoo many to be held in memory: decoded while they are trained on" if streamed else ""
