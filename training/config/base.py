"""The settings that every family shares, and how settings are changed and refused."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

Precision = Literal["auto", "float32", "bfloat16"]

FREE_TO_CHANGE = frozenset({"images", "tick", "compile"})
"""Settings that a resumed run may change: how long it goes on, how often it reports, how it is executed."""

_OF_OWN_FLAG = frozenset({"data", "images", "batch", "tick", "seed", "precision", "compile"})
"""Settings that have a flag; all others are changed by --set."""


class ConfigError(ValueError):
    """A setting is not what it may be; the message names the flag to change."""


class Settings(BaseModel):
    """A group of settings: frozen, and without room for names that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class OptimizerConfig(Settings):
    """Adam, one optimizer for each net."""

    generator_lr: Annotated[float, Field(gt=0, le=1)] = 6e-4
    """The generator's learning rate."""

    discriminator_lr: Annotated[float, Field(gt=0, le=1)] = 6e-4
    """The discriminator's learning rate."""

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Decay of the mean of gradients; DCGAN's value."""

    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the mean of squared gradients."""

    constant_share: Annotated[float, Field(ge=0, le=1)] = 1
    """Share of the run after which both learning rates fall linearly to zero; 1 keeps them."""


class EmaConfig(Settings):
    """The moving average of the generator's weights, which is the generator that is kept."""

    half_life: Annotated[float, Field(gt=0)] = 30_000
    """Images after which a weight's share in the average has halved."""

    rampup: Annotated[float, Field(gt=0)] = 0.2
    """The half-life is at most this share of the images seen, so that the beginning is soon forgotten."""


class TrainConfig(Settings):
    """What decides a training run of any family."""

    family: str
    """What is trained; each family narrows it to its own name."""

    data: str
    """The data set's name."""

    images: Annotated[int, Field(ge=1)]
    """Real images to show in all, counted with repetition; the run stops at the first step that reaches it."""

    batch: Annotated[int, Field(ge=2, le=65_536)] = 64
    """Images in a step."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides the first weights, the order of the data and every latent."""

    precision: Precision = "auto"
    """Arithmetic of the nets: "auto" takes bfloat16 where the device multiplies matrices in it, else float32."""

    compile: bool = False
    """Whether torch.compile makes kernels of the losses; it needs a C++ compiler."""

    tick: Annotated[int, Field(ge=1)]
    """Images between two ticks; at a tick statistics, a grid of samples and a checkpoint are written."""

    optimizer: OptimizerConfig = OptimizerConfig()
    ema: EmaConfig = EmaConfig()

    @model_validator(mode="after")
    def _tick_holds_a_batch(self) -> Self:
        if self.tick < self.batch:
            raise ValueError(f"--tick {self.tick} is less than one --batch of {self.batch}")
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
        for name, value in settings.items():
            *path, last = name.split(".")
            branch: Any = values
            for step in path:
                branch = branch.get(step)
                if not isinstance(branch, dict):
                    raise ConfigError(f"--set {name}: there is no setting of this name")
            branch[last] = value
        try:
            return self.model_validate(values)
        except ValidationError as error:
            raise ConfigError("; ".join(map(_flag_and_reason, error.errors()))) from error

    def flat(self) -> dict[str, Any]:
        """All settings by dotted name, as `changed` takes them."""
        return dict(_flatten(self.model_dump()))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _flag_and_reason(error: ErrorDetails) -> str:
    if error["type"] == "value_error":  # one of our validators; its message names the flags itself
        return error["msg"].removeprefix("Value error, ")
    path = [str(part) for part in error["loc"]]
    flag = f"--{path[0]}" if path[0] in _OF_OWN_FLAG else f"--set {'.'.join(path)}"
    if error["type"] == "extra_forbidden":
        return f"{flag}: there is no setting of this name"
    return f"{flag} {error['input']}: {error['msg']}"
