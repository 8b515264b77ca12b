"""How a training picture is cut from a picture of the data set."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from training.config.run import SettingsGroup


class CropConfig(SettingsGroup):
    """How a training picture is cut from a picture of the data set."""

    size: Annotated[int, Field(ge=32, le=1024, multiple_of=4)] = 256
    """Height and width of what the nets see; the discriminator needs 32."""

    min_side: Annotated[int, Field(ge=32, le=2048)] = 286
    """Least length that the shorter side is resized to before the crop."""

    max_side: Annotated[int, Field(ge=32, le=2048)] = 286
    """Greatest such length; a length between the two is drawn, so that the nets learn several scales."""

    mirror: bool = True
    """Whether half of them are mirrored; not where left and right differ, as in letters."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if not self.size <= self.min_side <= self.max_side:
            raise ValueError(
                f"--set crop.size {self.size}, crop.min_side {self.min_side}, crop.max_side {self.max_side}: "
                "none may be less than the one before it"
            )
        return self
