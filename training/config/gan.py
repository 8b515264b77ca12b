"""The configuration of every GAN that makes pictures from noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import nn

from gantry.v1 import models_pb2
from training.augmentations import Augmentation, Augmentations
from training.conditions import AnyCondition, NoCondition
from training.config.compatibility import DATA_REMEDIES, find_fault
from training.config.run import ConfigError, RunConfig
from training.data import DatasetInfo, ImageDataset, Split, load
from training.evaluation.result import Codes
from training.nets import AnyDiscriminator, AnyGenerator
from training.nets.discriminator import Discriminator
from training.nets.patches import PatchDiscriminatorConfig, PatchGeneratorConfig
from training.objectives import OBJECTIVES, Objective, ObjectiveName
from training.steps import adversarial
from training.steps.phase import Model
from training.terms import Side, Term, Terms


def _number(value: object) -> object:
    """Reads a text of digits, which pydantic does not where only some numbers are allowed."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class GanConfig(RunConfig):
    """A generator and a discriminator, with any objective, terms and condition that go together."""

    info_type: ClassVar[type] = DatasetInfo

    size: Annotated[Literal[28, 32, 64, 80, 96, 128] | None, BeforeValidator(_number)] = None
    """Height and width that own pictures are cropped and resized to; None: what fits them, and a built-in data set's
    own."""

    batch: Annotated[int, Field(ge=2, le=65_536)] = 64

    objective: ObjectiveName = "non_saturating"
    """The adversarial losses; see `training.objectives`."""

    terms: Terms = Field(default_factory=dict)
    """What is added to them, by name; see `training.terms`."""

    adversarial_weight: Annotated[float, Field(ge=0, le=100)] = 1
    """Weight of the objective in the generator's loss; 0 leaves it to the generator's terms, e.g. feature matching."""

    augmentations: Augmentations = Field(default_factory=dict)
    """What changes images before the discriminator looks at them, by name; see `training.augmentations`."""

    critic_steps: Annotated[int, Field(ge=1, le=100)] = 1
    """Times that the discriminator learns, each from another batch, before the generator does once."""

    latent_size: Annotated[int, Field(ge=1, le=1024)] = 64
    """Numbers in the latent z, each drawn from a standard normal distribution."""

    condition: AnyCondition = NoCondition()
    generator: AnyGenerator = PatchGeneratorConfig()
    discriminator: AnyDiscriminator = PatchDiscriminatorConfig()

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        used = {name: term for name, term in self.terms.items() if term.weight}
        provided = self.condition.provides | self.discriminator.provides | self.adversarial.provides
        provided |= {given for term in used.values() for given in term.provides}
        reads_condition = "condition input" in self.discriminator.provides
        if reads_condition:
            provided |= {"label input", "attribute input"}
        needs = dict.fromkeys(self.adversarial.needs, f"--set objective={self.objective}")
        needs |= {
            need: f"--set terms.{name}.weight={term.weight:g}" for name, term in used.items() for need in term.needs
        }
        if reads_condition:
            needs["label or attributes"] = "--set discriminator.concat or discriminator.projection"
        needs |= dict.fromkeys(sorted(self.condition.needs), f"condition {self.condition.kind}")
        if fault := find_fault(needs, frozenset(provided)):
            raise ValueError(fault)
        return self

    @property
    def step_images(self) -> int:
        """Real images that one step shows."""
        return self.batch * self.critic_steps

    @property
    def adversarial(self) -> Objective:
        """The objective."""
        return OBJECTIVES[self.objective]

    @property
    def classifies(self) -> bool:
        """Whether the discriminator is a classifier of the data's classes, which is kept too."""
        return self.adversarial.outcomes == "classes"

    def terms_of(self, side: Side | None = None) -> Mapping[str, Term]:
        """The terms of a side's loss by name, or of either side's; without those of no weight."""
        return {name: t for name, t in self.terms.items() if t.weight and (side is None or side in t.sides)}

    @property
    def used_augmentations(self) -> Mapping[str, Augmentation]:
        """The augmentations that change anything, in the order of their names."""
        return {name: each for name, each in sorted(self.augmentations.items()) if each.is_used}

    def load(self, split: Split, data_dir: Path | None = None) -> ImageDataset:  # noqa: D102
        dataset = load(self.data, split, data_dir, size=self.size)
        needed = self.condition.needs_known.union(*(term.needs_known for term in self.terms_of().values()))
        for lacking in sorted(needed - dataset.known.keys()):
            raise ConfigError(f"--data {self.data} has {DATA_REMEDIES[lacking].format(recipe=self.recipe)}")
        return self.condition.chosen(dataset)

    def build(self, dataset: ImageDataset, where: torch.device) -> Model:  # noqa: D102
        return adversarial.build(self, dataset, where)

    def build_generator(self, info: DatasetInfo) -> nn.Module:  # noqa: D102
        condition_size = self.condition.size(info)
        return self.generator.build(
            latent_size=self.latent_size, condition_size=condition_size, channels=info.channels, size=info.size
        )

    def build_discriminator(self, info: DatasetInfo) -> Discriminator:
        """Makes the discriminator with all heads, on the CPU."""

        def heads(features: int) -> dict[str, nn.Module]:
            named = self.condition.heads(features)
            for term in self.terms_of().values():
                named |= term.heads(features, info, self.latent_size)
            return named

        outcomes = self.adversarial.outcomes
        return self.discriminator.build(
            condition_size=self.condition.size(info),
            channels=info.channels,
            size=info.size,
            heads=heads,
            outcomes=len(info.class_names) if outcomes == "classes" else outcomes,
        )

    def card(self, info: DatasetInfo, codes: Codes | None) -> models_pb2.ModelCard:  # noqa: D102
        card = self.condition.card(info, codes)
        card.image.CopyFrom(
            models_pb2.ImageSpec(
                width=info.size, height=info.size, channels=info.channels, value_min=-1.0, value_max=1.0
            )
        )
        card.latent.CopyFrom(
            models_pb2.LatentSpec(size=self.latent_size, distribution=models_pb2.LATENT_DISTRIBUTION_NORMAL)
        )
        return card

    def graphs(self, generator: nn.Module) -> dict[str, nn.Module]:  # noqa: D102
        return {"model.pt2": generator}
