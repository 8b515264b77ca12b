"""The pictures that a caller gets: what they show, and everything needed to make them again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, Literal, NamedTuple, Self

from PIL import Image

from gantry.v1 import generation_pb2
from gantry.v1.generation_pb2 import Direction as WireDirection
from gantry.v1.generation_pb2 import ImageFormat

Format = Literal["png", "jpeg", "webp", "raw"]
# How the API calls each format.
FORMATS: dict[Format, ImageFormat.ValueType] = {
    "png": ImageFormat.IMAGE_FORMAT_PNG,
    "jpeg": ImageFormat.IMAGE_FORMAT_JPEG,
    "webp": ImageFormat.IMAGE_FORMAT_WEBP,
    "raw": ImageFormat.IMAGE_FORMAT_RAW,
}
Direction = Literal["a_to_b", "b_to_a"]
# How the API calls each direction.
DIRECTIONS: dict[Direction, WireDirection.ValueType] = {
    "a_to_b": WireDirection.DIRECTION_A_TO_B,
    "b_to_a": WireDirection.DIRECTION_B_TO_A,
}
_FORMAT_NAMES = {number: name for name, number in FORMATS.items()}
DIRECTION_NAMES = {number: name for name, number in DIRECTIONS.items()}


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
        """The picture decoded, in mode L or RGB; of an animation the first frame."""
        if self.format == "raw":
            return Image.frombytes("L" if self.channels == 1 else "RGB", (self.width, self.height), self.data)
        image = Image.open(BytesIO(self.data))
        image.load()
        return image


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made a picture.

    Attributes:
        model: Name of the model.
        version: The model's version.
        digest: Digest of the model's archive.
        execution: The plan that the model ran under, for example "cpu-float32-eager".
    """

    model: str
    version: str
    digest: str
    execution: str


@dataclass(frozen=True, kw_only=True)
class Origin(Provenance):
    """Where a picture comes from: the same origin gives the same picture.

    Attributes:
        seed: The picture's own seed, 0 to 2^64 - 1.
        label: Id of its class; None where the model has no classes.
        label_name: Name of its class; None where the model has no classes.
        codes: Every code of a model that has codes, by id: the index of a categorical one, the number of a
            continuous one.
        attributes: Every attribute of a model that has attributes, by name.
        truncation: Truncation ψ, 0 to 1.
    """

    seed: int
    label: int | None
    label_name: str | None
    codes: Mapping[str, int | float]
    attributes: Mapping[str, float]
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


class Coordinate(NamedTuple):
    """A stop on one axis of a traversal.

    Attributes:
        axis: The id of a code, the name of an attribute, "class", "position" (0 to 1) or "term".
        value: The stop: a number, an index, or a share of the way.
        name: The stop's name; None where it has none.
    """

    axis: str
    value: float
    name: str | None


@dataclass(frozen=True, kw_only=True)
class Frame(Picture, Provenance):
    """One picture of a traversal.

    Attributes:
        index: Its place, counted from 0.
        frames: Number of frames in the traversal.
        coordinates: Where it stands: the axes of a sweep, x first; the position of an interpolation; the term of
            arithmetic.
        seed: Seed of the traversal: that of the sweep, of the interpolation's first frame, or the first of term a.
    """

    index: int
    frames: int
    coordinates: tuple[Coordinate, ...]
    seed: int

    @classmethod
    def from_message(cls, message: generation_pb2.Frame) -> Self:
        """Read one frame of the gateway's answer."""
        return cls(
            **_picture_fields(message.encoded),
            **_maker_fields(message),
            index=message.index,
            frames=message.frames,
            coordinates=tuple(Coordinate(one.axis, one.value, one.name or None) for one in message.coordinates),
            seed=message.seed,
        )


@dataclass(frozen=True, kw_only=True)
class Traversal(Picture):
    """All frames of a traversal as one picture: tiles of a grid, or an animation.

    Attributes:
        frames: The frames themselves, in order.
    """

    frames: tuple[Frame, ...]

    @classmethod
    def from_messages(cls, messages: Iterable[generation_pb2.TraverseResponse]) -> Self:
        """Read the whole answer to a request for an assembled picture, which comes last."""
        *frames, assembled = messages
        return cls(
            **_picture_fields(assembled.assembled),
            frames=tuple(Frame.from_message(message.frame) for message in frames),
        )


@dataclass(frozen=True, kw_only=True)
class Translation(Picture, Provenance):
    """A picture in the other domain.

    Attributes:
        direction: The way it went.
        source: Name of the domain that the picture was of.
        target: Name of the domain that it is of now.
        cycled: What became of it translated back; None unless it was asked for.
        cycle_l1: Mean absolute difference between the picture sent and `cycled`, 0 to 1 of full intensity; None
            without `cycled`.
    """

    direction: Direction
    source: str
    target: str
    cycled: Picture | None
    cycle_l1: float | None

    @classmethod
    def from_message(cls, message: generation_pb2.TranslateResponse) -> Self:
        """Read the gateway's answer for one picture."""
        return cls(
            **_picture_fields(message.image),
            **_maker_fields(message),
            direction=DIRECTION_NAMES[message.direction],
            source=message.source_domain,
            target=message.target_domain,
            cycled=Picture(**_picture_fields(message.cycled)) if message.HasField("cycled") else None,
            cycle_l1=message.cycle_l1 if message.HasField("cycle_l1") else None,
        )


def _picture_fields(message: generation_pb2.EncodedImage) -> dict[str, Any]:
    return {
        "data": message.data,
        "width": message.width,
        "height": message.height,
        "channels": message.channels,
        "format": _FORMAT_NAMES[message.format],
    }


def _maker_fields(
    message: generation_pb2.Image | generation_pb2.Frame | generation_pb2.TranslateResponse,
) -> dict[str, Any]:
    return {
        "model": message.model,
        "version": message.version,
        "digest": message.digest,
        "execution": message.execution,
    }


def _origin_fields(message: generation_pb2.Image) -> dict[str, Any]:
    return {
        **_maker_fields(message),
        "seed": message.seed,
        "label": message.label_id if message.label_name else None,
        "label_name": message.label_name or None,
        "codes": {code.code: code.index if code.HasField("index") else code.number for code in message.codes},
        "attributes": dict(message.attributes),
        "truncation": message.truncation,
    }
