"""Settings of an InfoGAN: a generator steered by codes that it learns to make visible."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from training.config.base import Settings, TrainConfig


def _split(value: object) -> object:
    """Reads "10,2" as a list, so that --set can give one; nothing is an empty one."""
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class CodesConfig(Settings):
    """What the generator is given; the graph's latent is the noise, then each code."""

    noise: Annotated[int, Field(ge=1, le=1024)] = 62
    """Incompressible numbers, standard normal."""

    categorical: Annotated[tuple[Annotated[int, Field(ge=2, le=1000)], ...], BeforeValidator(_split)] = (10,)
    """Number of values of each categorical code; a value is drawn uniformly. As a text: "10,2"."""

    continuous: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], BeforeValidator(_split)] = (1, 1)
    """Numbers in each continuous code, each drawn uniformly from [-1, 1]."""

    @model_validator(mode="after")
    def _one_code_at_least(self) -> Self:
        if not self.categorical and not self.continuous:
            raise ValueError("--set codes.categorical or codes.continuous: there must be at least one code")
        return self


class InfoGeneratorConfig(Settings):
    """The generator's shape."""

    width: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 64
    """Channels of the last feature maps; each lower resolution has twice as many."""


class InfoDiscriminatorConfig(Settings):
    """The shape of the trunk that the discriminator and Q share, and of Q's own layer."""

    width: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels of the trunk's first feature maps; each lower resolution has twice as many."""

    spectral_norm: bool = True
    """Whether the largest singular value of every layer of the trunk and of the score is held at one."""

    hidden: Annotated[int, Field(ge=1, le=4096)] = 128
    """Features of Q's own layer between the trunk and the codes."""


class InfoGanConfig(TrainConfig):
    """An InfoGAN (Chen et al., 2016)."""

    family: Literal["infogan"] = "infogan"
    data: Literal["digits", "mnist", "fashion-mnist"]

    objective: Literal["non_saturating", "hinge", "least_squares"] = "non_saturating"
    """The adversarial losses; see `training.objectives`."""

    codes: CodesConfig = CodesConfig()

    categorical_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """The λ of the mutual-information bound of the categorical codes."""

    continuous_weight: Annotated[float, Field(ge=0, le=100)] = 0.5
    """The λ of the bound of the continuous codes."""

    invariance_weight: Annotated[float, Field(ge=0, le=100)] = 0
    """Weight of the invariance of Q's categorical guesses of real images under small deformations, which draws these
    codes towards what an image shows (see `training.regularizers.invariance`); 0 is the paper's InfoGAN."""

    invariance_balance: Annotated[float, Field(ge=1, le=10)] = 2
    """How strongly this wants all values equally frequent; 1 is plain mutual information."""

    equivariance_weight: Annotated[float, Field(ge=0, le=100)] = 0
    """Weight of the distance between how far Q's guess of the first continuous number moves when a real image is
    sheared, of the second when it is scaled, and how far it was (see `training.regularizers.equivariance`); 0 is the
    paper's InfoGAN."""

    learned_variance: bool = False
    """Whether Q also gives the variance of a continuous code; else it is 1, and the bound a squared error."""

    generator: InfoGeneratorConfig = InfoGeneratorConfig()
    discriminator: InfoDiscriminatorConfig = InfoDiscriminatorConfig()

    @model_validator(mode="after")
    def _invariance_has_a_code(self) -> Self:
        if self.invariance_weight and not self.codes.categorical:
            raise ValueError(
                f"--set invariance_weight {self.invariance_weight:g} needs a categorical code: give "
                "--set invariance_weight=0 or codes.categorical=10"
            )
        return self

    @model_validator(mode="after")
    def _equivariance_has_a_code(self) -> Self:
        if self.equivariance_weight and not self.codes.continuous:
            raise ValueError(
                f"--set equivariance_weight {self.equivariance_weight:g} needs a continuous code: give "
                "--set equivariance_weight=0 or codes.continuous=1,1"
            )
        return self
