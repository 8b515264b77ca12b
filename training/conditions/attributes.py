"""What is known of an image in numbers, beside its class, as in Attribute2Font (Wang et al., 2020, arXiv:2005.07865).

An attribute lies between -1 and 1.
"""

from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, StringConstraints
from torch import Tensor
from torch.nn import functional

from gantry.v1 import models_pb2
from training.conditions.base import Condition, Draws, Showcase, class_infos, sweeps
from training.config import ConfigError
from training.config.lists import split
from training.data import DatasetInfo, ImageDataset
from training.evaluation.result import Codes

_MOST_ROWS = 10  # that sweeps are shown of


class AttributesCondition(Condition):
    """Attributes; the generator's vector has the class as one-hot, where there is one, then each attribute.

    Both are those of the real images beside a sample, so that they have the joint distribution of the data.
    """

    kind: Literal["attributes"] = "attributes"

    classes: bool = True
    """Whether the class stands beside the attributes, where the data have classes."""

    names: Annotated[tuple[Annotated[str, StringConstraints(strip_whitespace=True)], ...], BeforeValidator(split)] = ()
    """The attributes that are given; all that the data have where empty. As a text: "weight,slant"."""

    @property
    def provides(self) -> frozenset[str]:  # noqa: D102
        return super().provides | {"label or attributes"} | ({"label"} if self.classes else set())

    @property
    def needs(self) -> frozenset[str]:  # noqa: D102
        return frozenset({"attribute input", "label input"} if self.classes else {"attribute input"})

    @property
    def needs_known(self) -> frozenset[str]:  # noqa: D102
        return frozenset({"attributes"})

    def chosen(self, dataset: ImageDataset) -> ImageDataset:  # noqa: D102
        if unknown := [name for name in self.names if name not in dataset.attribute_meanings]:
            known = ", ".join(dataset.attribute_meanings)
            raise ConfigError(
                f"--set condition.names={','.join(unknown)}: the attributes of {dataset.name} are {known}"
            )
        return dataset.with_attributes(self.names) if self.names else dataset

    def class_names(self, info: DatasetInfo) -> tuple[str, ...]:  # noqa: D102
        return info.class_names if self.classes else ()

    def size(self, info: DatasetInfo) -> int:  # noqa: D102
        return len(self.class_names(info)) + len(info.attribute_meanings)

    def draw(self, known: Draws, count: int, source: torch.Generator) -> Draws:  # noqa: ARG002
        """Takes `attributes`, float32 [count, attributes], and `labels`, where there are any, of the real images."""
        return {name: known[name] for name in ("labels", "attributes") if name in known}

    def vector(self, draws: Draws, info: DatasetInfo) -> Tensor:  # noqa: D102
        classes = len(self.class_names(info))
        one_hot = [functional.one_hot(draws["labels"], classes).float()] if classes else []
        return torch.cat([*one_hot, draws["attributes"]], 1)

    def showcase(self, info: DatasetInfo, latent_size: int, source: torch.Generator) -> Showcase:
        """A row for each of some classes; beside each other sweeps of the attributes, all of one latent."""
        rows = self.shown_classes(info)
        attributes = sweeps(len(rows), len(info.attribute_meanings))
        columns = len(attributes) // len(rows)
        labels = rows.repeat_interleave(columns)
        latents = torch.randn(1, latent_size, generator=source).expand(len(labels), -1)
        return Showcase(latents, {"labels": labels, "attributes": attributes}, columns)

    def shown_classes(self, info: DatasetInfo) -> Tensor:
        """The classes that sweeps are shown of, a row each, int64 [rows]; one row where there are none."""
        classes = max(1, len(self.class_names(info)))
        return torch.linspace(0, classes - 1, min(classes, _MOST_ROWS)).round().long()

    def card(self, info: DatasetInfo, codes: Codes | None) -> models_pb2.ModelCard:  # noqa: ARG002, D102
        attributes = [
            models_pb2.Attribute(name=name, description=meaning, min=-1, max=1)
            for name, meaning in info.attribute_meanings.items()
        ]
        names = self.class_names(info)
        of = f"of the {len(names)} classes of {info.name}" if names else f"like those of {info.name}"
        return models_pb2.ModelCard(
            description=f"Makes {info.size}×{info.size} images {of}, steered by {', '.join(info.attribute_meanings)}.",
            classes=class_infos(names),
            attributes=attributes,
        )
