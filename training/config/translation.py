"""The configuration of two translators between two domains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from gantry.v1 import models_pb2
from training.config.crop import CropConfig
from training.config.run import EmaConfig, OptimizerConfig, RunConfig
from training.data import Split, UnpairedDataset, UnpairedInfo, load_unpaired
from training.evaluation.result import Codes
from training.nets.translator import MULTIPLE, PatchConfig, TranslatorConfig, TranslatorPair
from training.objectives import OBJECTIVES, Objective, ObjectiveName
from training.steps import translation
from training.steps.phase import Model


class TranslationConfig(RunConfig):
    """Two translators that undo each other, and a discriminator for each domain."""

    info_type: ClassVar[type] = UnpairedInfo

    domain_a: Annotated[str, Field(min_length=1, max_length=63)] = "A"
    """What trainA and testA show, for example "horse"; callers name a direction by it."""

    domain_b: Annotated[str, Field(min_length=1, max_length=63)] = "B"
    """What trainB and testB show."""

    batch: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pictures of each domain in a step."""

    objective: ObjectiveName = "least_squares"
    """The adversarial losses; see `training.objectives`."""

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
    crop: CropConfig = CropConfig()
    optimizer: OptimizerConfig = OptimizerConfig(generator_lr=2e-4, discriminator_lr=2e-4, beta2=0.999, decay_start=0.5)
    ema: EmaConfig = EmaConfig(half_life=1_000)

    @model_validator(mode="after")
    def _domains_differ(self) -> Self:
        if self.domain_a == self.domain_b:
            raise ValueError(
                f"--set domain_a and domain_b are both {self.domain_a!r}: they must differ, since callers name a "
                "direction by them"
            )
        return self

    @model_validator(mode="after")
    def _objective_fits(self) -> Self:
        if self.adversarial.needs or self.adversarial.shows_real:
            fitting = [name for name, each in OBJECTIVES.items() if not each.needs and not each.shows_real]
            raise ValueError(
                f"--set objective={self.objective}: these discriminators do not provide what it needs; allowed: "
                f"{', '.join(fitting)}"
            )
        return self

    @property
    def adversarial(self) -> Objective:
        """The objective."""
        return OBJECTIVES[self.objective]

    def load(self, split: Split, data_dir: Path | None = None) -> UnpairedDataset:  # noqa: D102
        return load_unpaired(self.data, split, data_dir, max_side=self.crop.max_side)

    def build(self, dataset: UnpairedDataset, where: torch.device) -> Model:  # noqa: D102
        return translation.build(self, dataset, where)

    def build_generator(self, info: UnpairedInfo) -> TranslatorPair:  # noqa: ARG002, D102  # they fit any size
        return TranslatorPair(self.generator.build(), self.generator.build())

    def card(self, info: UnpairedInfo, codes: Codes | None) -> models_pb2.ModelCard:  # noqa: ARG002, D102
        a, b = self.domain_a, self.domain_b
        return models_pb2.ModelCard(
            description=f"Translates pictures between the domains {a} and {b}, both ways.",
            image=models_pb2.ImageSpec(channels=3, value_min=-1.0, value_max=1.0),
            translation=models_pb2.TranslationSpec(
                domain_a=a, domain_b=b, multiple=MULTIPLE, trained_side=self.crop.size
            ),
        )

    def graphs(self, generator: TranslatorPair) -> dict[str, nn.Module]:  # noqa: D102
        return {"a_to_b.pt2": generator.a_to_b, "b_to_a.pt2": generator.b_to_a}
