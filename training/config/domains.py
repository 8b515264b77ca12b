"""The settings of every model that translates pictures between two domains."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from gantry.v1 import models_pb2
from training.config.crop import CropConfig
from training.config.run import RunConfig
from training.data import DomainsInfo
from training.objectives import OBJECTIVES, Objective, ObjectiveName


class DomainsConfig(RunConfig):
    """What is translated into what, and how the pictures are cut."""

    info_type: ClassVar[type] = DomainsInfo

    domain_a: Annotated[str, Field(min_length=1, max_length=63)] = "A"
    """What trainA and testA show, for example "horse"; callers name a direction by it."""

    domain_b: Annotated[str, Field(min_length=1, max_length=63)] = "B"
    """What trainB and testB show."""

    batch: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pictures of each domain in a step."""

    objective: ObjectiveName = "least_squares"
    """The adversarial losses; see `training.objectives`."""

    crop: CropConfig = CropConfig()

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

    @property
    @abstractmethod
    def multiple(self) -> int:
        """What height and width of a net's input must be divisible by, in pixels."""

    def _card(self, description: str) -> models_pb2.ModelCard:
        return models_pb2.ModelCard(
            description=description,
            image=models_pb2.ImageSpec(channels=3, value_min=-1.0, value_max=1.0),
            translation=models_pb2.TranslationSpec(
                domain_a=self.domain_a, domain_b=self.domain_b, multiple=self.multiple, trained_side=self.crop.size
            ),
        )
