"""No condition: pictures from latents alone."""

from typing import Literal

import torch

from gantry.v1 import models_pb2
from training.conditions.base import Condition, Showcase
from training.data import DatasetInfo
from training.evaluation.result import Codes

_SIDE = 10  # samples in a row and in a column of what a tick shows


class NoCondition(Condition):
    """Pictures from latents alone."""

    kind: Literal["none"] = "none"

    def size(self, info: DatasetInfo) -> int:  # noqa: ARG002, D102
        return 0

    def showcase(self, info: DatasetInfo, latent_size: int, source: torch.Generator) -> Showcase:  # noqa: ARG002
        """Ten rows of ten samples."""
        return Showcase(torch.randn(_SIDE**2, latent_size, generator=source), {}, _SIDE)

    def card(self, info: DatasetInfo, codes: Codes | None) -> models_pb2.ModelCard:  # noqa: ARG002, D102
        return models_pb2.ModelCard(
            description=f"Makes {info.size}×{info.size} images like those of {info.name}.",
        )
