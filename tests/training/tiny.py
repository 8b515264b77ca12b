"""Data sets of a few small pictures, configurations as narrow as they go, and one step without an engine."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from training.config import RunConfig
from training.config.gan import GanConfig
from training.config.paired import PairedConfig
from training.config.translation import TranslationConfig
from training.data import ImageDataset, PairedDataset, UnpairedDataset
from training.steps.phase import Model

SMALL = {"batch": 4, "width": 4, "max_width": 8, "hidden": "8", "blocks": 1, "depth": 3, "attention": 0, "pool": 2}
"""Settings by the last part of their names; "8" is a number of features, or a list of one."""

SMALL_CROP = {"crop.size": 32, "crop.min_side": 32, "crop.max_side": 40}


MEANINGS = {"shade": "how bright", "place": "where the bar stands, from left to right"}
"""The attributes of `dots`."""


def dots(
    *, size: int = 8, channels: int = 1, classes: int = 3, count: int = 12, attributes: bool = False
) -> ImageDataset:
    """Pictures of one shade each with an upright bar of its negative, of every class in turn.

    The bar stands in the middle; where there are attributes, left, in the middle or right.
    """
    shades = torch.linspace(0, 240, count).to(torch.uint8)
    images = shades.view(count, 1, 1, 1).expand(count, channels, size, size).clone()
    places = torch.arange(count) // max(1, classes) % 3 - 1 if attributes else torch.zeros(count, dtype=torch.int64)
    rows, columns = torch.arange(count), size // 2 + places * (size // 4)
    images[rows, ..., columns] = 255 - images[rows, ..., columns]
    labels = rows % classes if classes else None
    known = {
        "attributes": torch.stack([torch.linspace(-1, 1, count), places.float()], 1),
        "attribute_meanings": MEANINGS,
    }
    return ImageDataset(
        name="dots",
        split="train",
        images=images,
        labels=labels,
        class_names=tuple(f"class {number}" for number in range(classes)),
        licence="ours",
        **known if attributes else {},
    )


def noise() -> UnpairedDataset:
    """Two domains of pictures of several sizes, one dark and one bright."""
    source = torch.Generator().manual_seed(0)
    return UnpairedDataset(
        name="noise",
        split="train",
        a=[torch.randint(0, 128, (3, 32, 40), dtype=torch.uint8, generator=source) for _ in range(3)],
        b=[torch.randint(128, 256, (3, 36, 32), dtype=torch.uint8, generator=source) for _ in range(5)],
    )


def pairs(count: int = 5) -> PairedDataset:
    """Noise of several sizes, and its negatives."""
    source = torch.Generator().manual_seed(0)
    sizes = [(3, 32, 40), (3, 36, 32)]
    a = [torch.randint(0, 256, sizes[each % 2], dtype=torch.uint8, generator=source) for each in range(count)]
    return PairedDataset("pairs", "train", a, [255 - picture for picture in a])


def dataset_for(config: RunConfig) -> Any:
    """A data set of the kind that a configuration trains on."""
    if isinstance(config, GanConfig):
        return dots(attributes=config.condition.kind == "attributes")
    return {TranslationConfig: noise, PairedConfig: pairs}[type(config)]()


def narrowed(config: RunConfig, **changes: Any) -> RunConfig:
    """A configuration whose nets take milliseconds; in float32."""
    names = config.flat()
    small = {name: SMALL[name.rpartition(".")[2]] for name in names if name.rpartition(".")[2] in SMALL}
    crop = {name: value for name, value in SMALL_CROP.items() if name in names}
    return config.changed({**small, **crop, "precision": "float32", **changes})


def gan(**changes: Any) -> GanConfig:
    """A tiny GAN without a condition; settings are named as by `RunConfig.changed`, with __ for a dot."""
    plain = GanConfig(recipe="dcgan", data="dots", total_images=64, tick=64, batch=6, latent_size=5)
    narrow = {"generator.width": 4, "discriminator.width": 4, "precision": "float32"}
    return plain.changed({**narrow, **{name.replace("__", "."): value for name, value in changes.items()}})


def label_gan(**changes: Any) -> GanConfig:
    """The same with labels, which stand beside the input and are projected on."""
    return gan(
        **{"condition__kind": "label", "discriminator__concat": True, "discriminator__projection": True} | changes
    )


def attribute_gan(**changes: Any) -> GanConfig:
    """The same with attributes and classes, on both of which the features are projected."""
    return gan(**{"condition__kind": "attributes", "discriminator__projection": True} | changes)


def class_gan(**changes: Any) -> GanConfig:
    """The same without a condition, whose discriminator is a classifier that learns from six labelled images."""
    return gan(**{"objective": "classes", "terms__labelled__weight": 1, "terms__labelled__count": 6} | changes)


def code_gan(**changes: Any) -> GanConfig:
    """The same with codes, and the bounds that make them visible."""
    codes = {
        "condition__kind": "codes",
        "condition__categorical": (4, 3),
        "condition__continuous": (1, 2),
        "condition__posterior__hidden": 8,
        "terms__categorical_information__weight": 1,
        "terms__continuous_information__weight": 0.5,
    }
    return gan(**codes | changes)


def build(config: RunConfig, dataset: Any = None) -> Model:
    """The model, always with the same first weights."""
    torch.manual_seed(0)
    return config.build(dataset_for(config) if dataset is None else dataset, torch.device("cpu"))


def batches_of(model: Model, step: int = 0) -> list[Any]:
    """What the phases of a step are given, in order; only of models whose phases have no outputs."""
    stream = model.batches(step)
    return [stream.send(None) for phase in model.phases for _ in range(phase.repeats)]


def take_step(model: Model, step: int = 0) -> dict[str, Tensor]:
    """What an engine does in one step, in the plainest words; gives losses and statistics by phase."""
    stream, outputs, report = model.batches(step), None, {}
    for phase in _executed(model, step):
        for other in model.phases:
            other.module.requires_grad_(other.module is phase.module)
        loss = phase.loss(stream.send(outputs))
        phase.optimizer.zero_grad()
        loss.value.backward()
        phase.optimizer.step()
        if phase.after:
            with torch.no_grad():
                phase.after(phase.module)
        outputs = loss.outputs
        report |= {f"{phase.name}/{name}": value for name, value in {"loss": loss.value, **loss.statistics}.items()}
    return {name: value.detach() for name, value in report.items()}


def _executed(model: Model, step: int) -> Iterator[Any]:
    for phase in model.phases:
        if step % phase.every == 0:
            yield from [phase] * phase.repeats
