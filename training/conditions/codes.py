"""Codes that a generator learns to make visible (InfoGAN; Chen et al., 2016, arXiv:1606.03657)."""

from typing import Annotated, Literal, Self

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from gantry.v1 import models_pb2
from training.conditions.base import Condition, Draws, Showcase
from training.config.lists import split
from training.data import DatasetInfo
from training.evaluation.result import CodeNumber, Codes, CodeValues
from training.nets.posterior import Posterior, PosteriorConfig

HEAD = "codes"
"""The name of Q among a discriminator's heads."""

_FRAMES = 7  # of a sweep that a tick shows


class CodesCondition(Condition):
    """Codes; the generator's vector has each categorical code as one-hot, then the continuous ones."""

    kind: Literal["codes"] = "codes"

    categorical: Annotated[tuple[Annotated[int, Field(ge=2, le=1000)], ...], BeforeValidator(split)] = (10,)
    """Number of values of each categorical code; a value is drawn uniformly. As a text: "10,2"."""

    continuous: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], BeforeValidator(split)] = (1, 1)
    """Numbers in each continuous code, each drawn uniformly from [-1, 1]."""

    posterior: PosteriorConfig = PosteriorConfig()

    @model_validator(mode="after")
    def _one_code_at_least(self) -> Self:
        if not self.categorical and not self.continuous:
            raise ValueError("--set condition.categorical or condition.continuous: there must be at least one code")
        return self

    @property
    def provides(self) -> frozenset[str]:  # noqa: D102
        kinds = {"categorical codes": self.categorical, "continuous codes": self.continuous}
        return super().provides | {name for name, codes in kinds.items() if codes}

    def size(self, info: DatasetInfo) -> int:  # noqa: ARG002, D102
        return sum(self.categorical) + sum(self.continuous)

    def draw(self, known: Draws, count: int, source: torch.Generator) -> Draws:  # noqa: ARG002
        """Draws `categorical`, int64 [count, codes], and `continuous`, float32 [count, numbers of all codes]."""
        categorical = torch.empty(count, len(self.categorical), dtype=torch.int64)
        for code, values in enumerate(self.categorical):
            categorical[:, code] = torch.randint(values, (count,), generator=source)
        continuous = torch.rand(count, sum(self.continuous), generator=source) * 2 - 1
        return {"categorical": categorical, "continuous": continuous}

    def vector(self, draws: Draws, info: DatasetInfo | None = None) -> Tensor:  # noqa: ARG002, D102
        pairs = zip(draws["categorical"].T, self.categorical, strict=True)
        return torch.cat(
            [*(functional.one_hot(drawn, values).float() for drawn, values in pairs), draws["continuous"]], 1
        )

    def heads(self, features: int) -> dict[str, nn.Module]:  # noqa: D102
        return {HEAD: Posterior(features, self.posterior, self.categorical, sum(self.continuous))}

    def showcase(self, info: DatasetInfo, latent_size: int, source: torch.Generator) -> Showcase:  # noqa: ARG002
        """A row for each value of the first categorical code; beside each other sweeps of the continuous numbers."""
        numbers = sum(self.continuous)
        rows, columns = (self.categorical or (1,))[0], _FRAMES * max(1, numbers)
        categorical = torch.zeros(rows * columns, len(self.categorical), dtype=torch.int64)
        categorical[:, :1] = torch.arange(rows).repeat_interleave(columns)[:, None]
        continuous = torch.zeros(rows, max(1, numbers), _FRAMES, numbers)
        for number in range(numbers):
            continuous[:, number, :, number] = torch.linspace(-1, 1, _FRAMES)
        latents = torch.randn(1, latent_size, generator=source).expand(rows * columns, -1)
        return Showcase(latents, {"categorical": categorical, "continuous": continuous.flatten(0, 2)}, columns)

    def card(self, info: DatasetInfo, codes: Codes | None) -> models_pb2.ModelCard:
        """As of `Condition.card`; without an evaluation codes have no names."""
        found = codes or self._unnamed()
        categorical = [
            models_pb2.CategoricalCode(id=f"k{number}", name=code.name, values=_meanings(code))
            for number, code in enumerate(found.categorical, 1)
        ]
        continuous = [
            models_pb2.ContinuousCode(id=f"c{number}", name=code.name, min=-1, max=1, correlations=code.correlations)
            for number, code in enumerate(found.continuous, 1)
        ]
        return models_pb2.ModelCard(
            description=f"Makes {info.size}×{info.size} images like those of {info.name}, steered by codes that it "
            "found without labels.",
            categorical_codes=categorical,
            continuous_codes=continuous,
        )

    def _unnamed(self) -> Codes:
        return Codes(
            categorical=tuple(
                CodeValues(name="", values=("",) * values, recalls=(None,) * values) for values in self.categorical
            ),
            continuous=(CodeNumber(name="", correlations={}),) * sum(self.continuous),
        )


def _meanings(code: CodeValues) -> list[models_pb2.CodeMeaning]:
    return [
        models_pb2.CodeMeaning(index=index, name=name, recall=recall)
        for index, (name, recall) in enumerate(zip(code.values, code.recalls, strict=True))
    ]
