"""Settings of a CycleGAN: two translators between two unpaired domains."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.config.base import EmaConfig, OptimizerConfig, Settings, TrainConfig


class TranslatorConfig(Settings):
    """The shape of both generators (Johnson et al., 2016; Zhu et al., 2017)."""

    width: Annotated[int, Field(ge=1, le=512)] = 64
    """Channels at full resolution; a half and a quarter of it have twice and four times as many."""

    blocks: Annotated[int, Field(ge=1, le=32)] = 9
    """Residual blocks at a quarter of the resolution; the paper has 6 at 128 pixels and 9 at 256."""

    upsampling: Literal["transposed", "resize"] = "transposed"
    """How resolution doubles: a transposed convolution (the paper's), or nearest-neighbour enlargement and a
    convolution, which leaves no checkerboard (Odena et al., 2016) and costs four times as much in those layers."""

    residual: bool = False
    """Whether the net gives a change of the picture, at first none, instead of the picture. Colours and outlines are
    then kept from the first step on, which short runs gain by; the paper's net does not."""


class PatchConfig(Settings):
    """The shape of both discriminators."""

    width: Annotated[int, Field(ge=1, le=512)] = 64
    """Channels of the first feature maps."""


class CropConfig(Settings):
    """How a training picture is cut from a picture of the data set; each is also mirrored half of the time."""

    size: Annotated[int, Field(ge=32, le=1024, multiple_of=4)] = 256
    """Height and width of what the nets see; the discriminator needs 32."""

    min_side: Annotated[int, Field(ge=32, le=2048)] = 286
    """Least length that the shorter side is resized to before the crop."""

    max_side: Annotated[int, Field(ge=32, le=2048)] = 286
    """Greatest such length; a length between the two is drawn, so that the nets learn several scales."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if not self.size <= self.min_side <= self.max_side:
            raise ValueError(
                f"--set crop.size {self.size}, crop.min_side {self.min_side}, crop.max_side {self.max_side}: "
                "none may be less than the one before it"
            )
        return self


class CycleGanConfig(TrainConfig):
    """A CycleGAN."""

    family: Literal["cyclegan"] = "cyclegan"
    data: Annotated[str, Field(min_length=1)]

    domain_a: Annotated[str, Field(min_length=1, max_length=63)] = "A"
    """What trainA and testA show, for example "horse"; callers name a direction by it."""

    domain_b: Annotated[str, Field(min_length=1, max_length=63)] = "B"
    """What trainB and testB show."""

    batch: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pictures of each domain in a step."""

    objective: Literal["non_saturating", "hinge", "least_squares"] = "least_squares"
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
    optimizer: OptimizerConfig = OptimizerConfig(
        generator_lr=2e-4, discriminator_lr=2e-4, beta2=0.999, constant_share=0.5
    )
    ema: EmaConfig = EmaConfig(half_life=1_000)

    @model_validator(mode="after")
    def _domains_differ(self) -> Self:
        if self.domain_a == self.domain_b:
            raise ValueError(
                f"--set domain_a and domain_b are both {self.domain_a!r}: they must differ, since callers name a "
                "direction by them"
            )
        return self
