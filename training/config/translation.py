"""The configuration of two translators between two domains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from gantry.v1 import models_pb2
from training.config.domains import DomainsConfig
from training.config.run import EmaConfig, OptimizerConfig
from training.data import DomainsInfo, Split, UnpairedDataset, load_unpaired
from training.evaluation.result import Codes
from training.nets.translator import MULTIPLE, PatchConfig, TranslatorConfig, TranslatorPair
from training.steps import translation
from training.steps.phase import Model


class TranslationConfig(DomainsConfig):
    """Two translators that undo each other, and a discriminator for each domain."""

    cycle_weight: Annotated[float, Field(ge=0, le=100)] = 5
    """Weight of the L1 between a picture and what comes back from both translators; the paper's 10, halved since our
    least-squares loss is half of the paper's."""

    identity_weight: Annotated[float, Field(ge=0, le=100)] = 2.5
    """Weight of the L1 between a picture and its translation into its own domain, which holds the colours; 0 leaves
    out its passes through the nets."""

    pool: Annotated[int, Field(ge=0, le=10_000)] = 50
    """Earlier translations of each direction kept for the discriminators; 0 shows them only the newest."""

    generator: TranslatorConfig = TranslatorConfig()
    discriminator: PatchConfig = PatchConfig()
    optimizer: OptimizerConfig = OptimizerConfig(generator_lr=2e-4, discriminator_lr=2e-4, beta2=0.999, decay_start=0.5)
    ema: EmaConfig = EmaConfig(half_life=1_000)

    @property
    def multiple(self) -> int:  # noqa: D102
        return MULTIPLE

    def load(self, split: Split, data_dir: Path | None = None) -> UnpairedDataset:  # noqa: D102
        return load_unpaired(self.data, split, data_dir, max_side=self.crop.max_side)

    def build(self, dataset: UnpairedDataset, where: torch.device) -> Model:  # noqa: D102
        return translation.build(self, dataset, where)

    def build_generator(self, info: DomainsInfo) -> TranslatorPair:  # noqa: ARG002, D102  # they fit any size
        return TranslatorPair(self.generator.build(), self.generator.build())

    def card(self, info: DomainsInfo, codes: Codes | None) -> models_pb2.ModelCard:  # noqa: ARG002, D102
        domains = f"{self.domain_a} and {self.domain_b}"
        return self._card(f"Translates pictures between the domains {domains}, both ways.")

    def graphs(self, generator: TranslatorPair) -> dict[str, nn.Module]:  # noqa: D102
        return {"a_to_b.pt2": generator.a_to_b, "b_to_a.pt2": generator.b_to_a}
