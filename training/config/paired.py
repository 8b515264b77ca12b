"""The configuration of one translator that learns from pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from gantry.v1 import models_pb2
from training.config.domains import DomainsConfig
from training.config.run import EmaConfig, OptimizerConfig
from training.data import DomainsInfo, PairedDataset, Split, load_paired
from training.evaluation.result import Codes
from training.nets.translator import PatchConfig
from training.nets.unet import UNetConfig
from training.objectives import ObjectiveName
from training.steps import paired
from training.steps.phase import Model


class PairedConfig(DomainsConfig):
    """A translator of one direction, and a discriminator that sees a picture beside what it was made of."""

    direction: Literal["a_to_b", "b_to_a"] = "a_to_b"
    """Which domain is translated into which."""

    objective: ObjectiveName = "non_saturating"
    """The adversarial losses; see `training.objectives`. The paper's is the default; it halves the discriminator's
    loss, of which Adam makes nothing."""

    l1_weight: Annotated[float, Field(ge=0, le=1000)] = 100
    """Weight of the L1 between a translation and its target, in values of -1 to 1; the paper's 100. Under
    `least_squares`, which is half of what others take, 50 weighs as much as their 100."""

    generator: UNetConfig = UNetConfig()
    discriminator: PatchConfig = PatchConfig()
    optimizer: OptimizerConfig = OptimizerConfig(generator_lr=2e-4, discriminator_lr=2e-4, beta2=0.999, decay_start=0.5)
    ema: EmaConfig = EmaConfig(half_life=1_000)

    @model_validator(mode="after")
    def _crop_fits_the_generator(self) -> Self:
        if self.crop.size % self.multiple:
            raise ValueError(
                f"--set crop.size={self.crop.size}: must be a multiple of {self.multiple}, since the generator halves "
                f"it {self.generator.depth} times (--set generator.depth)"
            )
        return self

    @property
    def multiple(self) -> int:  # noqa: D102
        return self.generator.multiple

    def load(self, split: Split, data_dir: Path | None = None) -> PairedDataset:  # noqa: D102
        return load_paired(self.data, split, data_dir, max_side=self.crop.max_side)

    def build(self, dataset: PairedDataset, where: torch.device) -> Model:  # noqa: D102
        return paired.build(self, dataset, where)

    def build_generator(self, info: DomainsInfo) -> nn.ModuleDict:  # noqa: ARG002, D102  # it fits any size
        return nn.ModuleDict({self.direction: self.generator.build()})

    def card(self, info: DomainsInfo, codes: Codes | None) -> models_pb2.ModelCard:  # noqa: ARG002, D102
        domains = (self.domain_a, self.domain_b)
        source, target = domains if self.direction == "a_to_b" else domains[::-1]
        return self._card(f"Translates pictures of the domain {source} into the domain {target}.")

    def graphs(self, generator: nn.ModuleDict) -> dict[str, nn.Module]:  # noqa: D102
        return {f"{self.direction}.pt2": generator[self.direction]}
