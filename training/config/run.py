"""The settings that every run has, and how settings are changed and refused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.config.refusals import refusal

if TYPE_CHECKING:  # torch is imported only when something is built
    from torch import device, nn

    from gantry.v1 import models_pb2
    from training.data import Split
    from training.evaluation.result import Codes
    from training.steps.phase import Model

Precision = Literal["auto", "float32", "bfloat16"]

FREE_TO_CHANGE = frozenset({"total_images", "tick", "compile"})
"""Settings that a resumed run may change: how long it goes on, how often it reports, how it is executed."""


class ConfigError(ValueError):
    """A setting is not what it may be; the message names the flag to change."""


class SettingsGroup(BaseModel):
    """A group of settings: frozen, and without room for names that nobody reads."""

    # JSON, in which a configuration is kept, has no infinity.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class OptimizerConfig(SettingsGroup):
    """One optimizer for each net."""

    kind: Literal["adam", "rmsprop"] = "adam"
    """Adam, or RMSProp, which has no mean of gradients: critics with clipped weights do not bear one (WGAN)."""

    generator_lr: Annotated[float, Field(gt=0, le=1)] = 6e-4
    """The generator's learning rate."""

    discriminator_lr: Annotated[float, Field(gt=0, le=1)] = 6e-4
    """The discriminator's learning rate."""

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Decay of the mean of gradients; DCGAN's value. RMSProp has none."""

    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the mean of squared gradients."""

    decay_start: Annotated[float, Field(ge=0, le=1)] = 1
    """Share of the run after which both learning rates fall linearly to zero; 1 keeps them."""


class EmaConfig(SettingsGroup):
    """The moving average of the generator's weights, which is the generator that is kept."""

    half_life: Annotated[float, Field(gt=0)] = 30_000
    """Images after which a weight's share in the average has halved."""

    rampup: Annotated[float, Field(gt=0)] = 0.2
    """The half-life is at most this share of the images seen, so that the beginning is soon forgotten."""


class RunConfig(SettingsGroup, ABC):
    """What decides a training run, and what is built of it; each way of training has a configuration of this type."""

    info_type: ClassVar[type]
    """What is remembered of the data set: a dataclass of plain values."""

    recipe: str
    """What is trained: a name in `training.recipes.RECIPES`."""

    data: Annotated[str, Field(pattern=r"^[^/]*[^/.][^/]*$")]
    """The data set's name; no path."""

    total_images: Annotated[int, Field(ge=1)]
    """Real images to show in all, counted with repetition; the run stops at the first step that reaches it."""

    batch: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Images in a batch."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides the first weights, the order of the data and every draw."""

    precision: Precision = "auto"
    """Arithmetic of the nets: "auto" takes bfloat16 where the device multiplies matrices in it, else float32."""

    compile: bool | None = None
    """Whether torch.compile makes kernels of the losses, which needs a C++ compiler; None does so on GPUs alone."""

    tick: Annotated[int, Field(ge=1)]
    """Images between two ticks; at a tick statistics, a sample grid and a checkpoint are written."""

    optimizer: OptimizerConfig = OptimizerConfig()
    ema: EmaConfig = EmaConfig()

    @property
    def step_images(self) -> int:
        """Real images that one step shows."""
        return self.batch

    @abstractmethod
    def load(self, split: Split, data_dir: Path | None = None) -> Any:
        """Loads a split of the data set; errors as of `training.data`."""

    @abstractmethod
    def build(self, dataset: Any, where: device) -> Model:
        """Makes the nets, with weights drawn from torch's global random source, and the phases of a step.

        Args:
            dataset: What the nets are to fit, of the type that `load` gives.
            where: Where the nets live.
        """

    @abstractmethod
    def build_generator(self, info: Any) -> nn.Module:
        """Makes the net that is kept, alone, on the CPU.

        Args:
            info: What is remembered of the data set.
        """

    @abstractmethod
    def card(self, info: Any, codes: Codes | None) -> models_pb2.ModelCard:
        """What a model card says of the inputs and outputs of the net that is kept.

        Args:
            info: What is remembered of the data set.
            codes: What an evaluation found the codes to mean, where the model has any and was evaluated.
        """

    @abstractmethod
    def graphs(self, generator: Any) -> dict[str, nn.Module]:
        """The nets to export, by the members of the card's graphs."""

    @model_validator(mode="after")
    def _tick_holds_a_batch(self) -> Self:
        if self.tick < self.step_images:
            raise ValueError(f"--tick {self.tick} is less than one step's images: give at least {self.step_images}")
        return self

    def changed(self, settings: Mapping[str, Any]) -> Self:
        """This configuration with some settings replaced.

        Args:
            settings: New values by name; a nested setting is named with a dot, as in "generator.width". Texts are
                read as the setting's type.

        Returns:
            The new configuration.

        Raises:
            ConfigError: If a setting does not exist or a value is not allowed; the message names the flag.
        """
        values = self.model_dump()
        if settings.get("recipe", self.recipe) != self.recipe:
            raise ConfigError(f"--set recipe={settings['recipe']}: name the recipe as in `gantry train {self.recipe}`")
        for name in sorted(settings, key=lambda name: not name.endswith(".kind")):
            value = settings[name]
            *path, last = name.split(".")
            branch: Any = values
            for step in path:
                branch = branch.setdefault(step, {})  # a term that is not there yet
                if not isinstance(branch, dict):
                    raise ConfigError(f"--set {name}: there is no setting of this name")
            if last == "kind" and branch.get(last) != value:
                branch.clear()  # the settings of another kind
            branch[last] = value
        return self.parse(values)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Reads a configuration from plain values.

        Raises:
            ConfigError: If a setting does not exist or a value is not allowed; the message names the flag.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError("; ".join(refusal(one, values) for one in error.errors())) from error

    def flat(self) -> dict[str, Any]:
        """All settings by dotted name, as `changed` takes them."""
        return dict(_flatten(self.model_dump()))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
