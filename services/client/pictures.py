"""The pictures that a caller gets: what they show, and everything needed to make them again."""

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, Literal, Self

from PIL import Image

from gantry.v1 import generation_pb2
from gantry.v1.generation_pb2 import ImageFormat

Format = Literal["png", "jpeg", "webp", "raw"]
# How the API calls each format.
FORMATS: dict[Format, ImageFormat.ValueType] = {
    "png": ImageFormat.IMAGE_FORMAT_PNG,
    "jpeg": ImageFormat.IMAGE_FORMAT_JPEG,
    "webp": ImageFormat.IMAGE_FORMAT_WEBP,
    "raw": ImageFormat.IMAGE_FORMAT_RAW,
}
_NAMES = {number: name for name, number in FORMATS.items()}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An encoded picture.

    Attributes:
        data: The encoded bytes; with "raw" height × width × channels of them, rows from the top.
        width: In pixels.
        height: In pixels.
        channels: 1 (grey) or 3 (RGB).
        format: How `data` is encoded.
    """

    data: bytes
    width: int
    height: int
    channels: int
    format: Format

    @cached_property
    def image(self) -> Image.Image:
        """The picture decoded, in mode L or RGB."""
        if self.format == "raw":
            return Image.frombytes("L" if self.channels == 1 else "RGB", (self.width, self.height), self.data)
        image = Image.open(BytesIO(self.data))
        image.load()
        return image


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a picture comes from: the same origin gives the same picture.

    Attributes:
        model: Name of the model that made it.
        version: The model's version.
        digest: Digest of the model's archive.
        seed: The picture's own seed, 0 to 2^64 - 1.
        label: Id of its class.
        label_name: Name of its class.
        truncation: Truncation ψ, 0 to 1.
    """

    model: str
    version: str
    digest: str
    seed: int
    label: int
    label_name: str
    truncation: float


@dataclass(frozen=True, kw_only=True)
class SampledImage(Picture, Origin):
    """One picture and its origin."""

    @classmethod
    def from_message(cls, message: generation_pb2.Image) -> Self:
        """Read one picture of the gateway's answer."""
        return cls(**_picture_fields(message.encoded), **_origin_fields(message))


@dataclass(frozen=True, kw_only=True)
class SampledGrid(Picture):
    """Many pictures as the tiles of one.

    Attributes:
        seed: Seed of the first tile.
        tiles: The origin of each tile, row by row.
    """

    seed: int
    tiles: tuple[Origin, ...]

    @classmethod
    def from_message(cls, message: generation_pb2.SampleResponse) -> Self:
        """Read the gateway's answer to a request for a grid."""
        tiles = tuple(Origin(**_origin_fields(image)) for image in message.images)
        return cls(**_picture_fields(message.grid), seed=message.seed, tiles=tiles)


def _picture_fields(message: generation_pb2.EncodedImage) -> dict[str, Any]:
    return {
        "data": message.data,
        "width": message.width,
        "height": message.height,
        "channels": message.channels,
        "format": _NAMES[message.format],
    }


def _origin_fields(message: generation_pb2.Image) -> dict[str, Any]:
    return {
        "model": message.model,
        "version": message.version,
        "digest": message.digest,
        "seed": message.seed,
        "label": message.label_id,
        "label_name": message.label_name,
        "truncation": message.truncation,
    }
