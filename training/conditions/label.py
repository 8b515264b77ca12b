"""The class of an image, as one-hot (Mirza & Osindero, 2014, arXiv:1411.1784)."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from gantry.v1 import models_pb2
from training.conditions.base import Condition, Draws, Showcase, class_infos
from training.data import DatasetInfo
from training.evaluation.result import Codes

_SAMPLES = 10  # columns of what a tick shows


class LabelCondition(Condition):
    """The class of an image; samples are of the classes of the real images beside them."""

    kind: Literal["label"] = "label"

    @property
    def provides(self) -> frozenset[str]:  # noqa: D102
        return super().provides | {"label or attributes"}

    @property
    def needs(self) -> frozenset[str]:  # noqa: D102
        return frozenset({"label input"})

    @property
    def needs_known(self) -> frozenset[str]:  # noqa: D102
        return frozenset({"labels"})

    def class_names(self, info: DatasetInfo) -> tuple[str, ...]:  # noqa: D102
        return info.class_names

    def size(self, info: DatasetInfo) -> int:  # noqa: D102
        return len(info.class_names)

    def draw(self, known: Draws, count: int, source: torch.Generator) -> Draws:  # noqa: ARG002, D102
        return {"labels": known["labels"]}

    def vector(self, draws: Draws, info: DatasetInfo) -> Tensor:  # noqa: D102
        return functional.one_hot(draws["labels"], len(info.class_names)).float()

    def showcase(self, info: DatasetInfo, latent_size: int, source: torch.Generator) -> Showcase:
        """A row for each class, ten samples of it."""
        labels = torch.arange(len(info.class_names)).repeat_interleave(_SAMPLES)
        return Showcase(torch.randn(len(labels), latent_size, generator=source), {"labels": labels}, _SAMPLES)

    def card(self, info: DatasetInfo, codes: Codes | None) -> models_pb2.ModelCard:  # noqa: ARG002, D102
        return models_pb2.ModelCard(
            description=f"Makes {info.size}×{info.size} images of the {len(info.class_names)} classes of {info.name}.",
            classes=class_infos(info.class_names),
        )
