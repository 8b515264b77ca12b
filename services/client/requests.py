"""Python arguments → requests. What only the gateway can judge, such as which classes there are, is left to it."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypedDict, TypeVar, Unpack

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gantry.v1 import generation_pb2
from services.client.paths import Arithmetic, Attributes, Axis, Codes, Interpolation, Label, Path, Sweep
from services.client.pictures import DIRECTIONS, FORMATS, Direction, Format

Labels = Label | Sequence[int] | Sequence[str]
# The largest number of each type of whole numbers that requests have.
_MOST = {FieldDescriptor.TYPE_UINT32: (1 << 32) - 1, FieldDescriptor.TYPE_UINT64: (1 << 64) - 1}
AnyMessage = TypeVar("AnyMessage", bound=Message)


class _PictureOptions(TypedDict, total=False):
    """What every call that makes pictures takes.

    Attributes:
        version: Version of the model. Default: the newest.
        format: How pictures are encoded. Default: "png".
        quality: Of "jpeg" and "webp", 1 to 100. Default: 90.
    """

    version: str | None
    format: Format | None
    quality: int | None


class SampleOptions(_PictureOptions, total=False):
    """What to sample. An option that is absent or None takes the default of the API.

    Attributes:
        version: Version of the model. Default: the newest.
        format: How pictures are encoded. Default: "png".
        quality: Of "jpeg" and "webp", 1 to 100. Default: 90.
        labels: Classes, all by id or all by name: one for all pictures, or one per picture. Default: each picture's
            class is drawn from its seed.
        each_class: Makes `count` pictures of every class, ordered by class; then without `labels`.
        codes: Codes of all pictures, by id or name: a float for a continuous code; the index (int) or name (str) of a
            value for a categorical one. Default: each picture's are drawn from its seed.
        attributes: Attributes of all pictures, by name: a number in the range that the card says. Default: each
            picture's are drawn from its seed.
        count: Number of pictures, at least 1. Default: the number of labels, or 1.
        seed: Seed of the first picture, 0 to 2^64 - 1; picture i has seed + i. Default: the gateway picks one.
        truncation: Truncation ψ, 0 to 1. Default: 1.
    """

    labels: Labels | None
    each_class: bool
    codes: Codes | None
    attributes: Attributes | None
    count: int | None
    seed: int | None
    truncation: float | None


class TraverseOptions(_PictureOptions, total=False):
    """How to make the frames of a traversal. An option that is absent or None takes the default of the API.

    Attributes:
        version: Version of the model. Default: the newest.
        format: How frames, and a grid of them, are encoded. Default: "png".
        quality: Of "jpeg" and "webp", 1 to 100. Default: 90.
        truncation: Truncation ψ, 0 to 1. Default: 1.
    """

    truncation: float | None


class TranslateOptions(_PictureOptions, total=False):
    """Which way to translate and how.

    Of a model with two ways, at least one of `to`, `source` and `direction` is needed.

    Attributes:
        version: Version of the model. Default: the newest.
        format: How the answer is encoded. Default: "png".
        quality: Of "jpeg" and "webp", 1 to 100. Default: 90.
        to: Name of the domain that pictures are to be of.
        source: Name of the domain that they are of.
        direction: "a_to_b" or "b_to_a", by the domains of the card.
        max_side: The longer side in pixels, at least 16, that the net works at where a picture is larger; the answer
            is scaled back. Default: the picture's own size.
        cycle: Whether to translate the result back as well; for models with two ways.
    """

    to: str | None
    source: str | None
    direction: Direction | None
    max_side: int | None
    cycle: bool


def sample_request(model: str, **options: Unpack[SampleOptions]) -> generation_pb2.SampleRequest:
    """Build a request for samples.

    Args:
        model: Name of the model.
        **options: See `SampleOptions`.

    Returns:
        The request, not yet judged by the gateway.

    Raises:
        TypeError: There is no such option, or one has a value of a wrong type.
        ValueError: The request cannot hold a value; the message begins with the option's name.
    """
    _refuse_unknown(options, SampleOptions)
    return _filled(generation_pb2.SampleRequest(model=model), options)


def sample_grid_request(
    model: str, columns: int | None, gap: int | None, **options: Unpack[SampleOptions]
) -> generation_pb2.SampleRequest:
    """Build a request for samples as one grid; arguments and errors as of `sample_request` and `grid_options`."""
    request = sample_request(model, **options)
    request.grid.CopyFrom(grid_options(columns, gap))
    return request


def grid_options(columns: int | None, gap: int | None) -> generation_pb2.GridOptions:
    """Build the layout of a grid.

    Args:
        columns: Tiles per row, at least 1; None for the default of the API.
        gap: Pixels between tiles, 0 to 64; None for the default of the API.

    Raises:
        TypeError: One has a value of a wrong type.
        ValueError: The layout cannot hold a value.
    """
    return _filled(generation_pb2.GridOptions(), {"columns": columns, "gap": gap})


def animation_options(frame_milliseconds: int | None, back_and_forth: bool) -> generation_pb2.Animation:
    """Build the layout of an animation.

    Args:
        frame_milliseconds: How long a frame stands, 10 to 10000; None for the default of the API.
        back_and_forth: Whether it goes back the way it came.

    Raises:
        TypeError: One has a value of a wrong type.
        ValueError: The layout cannot hold a value.
    """
    return _filled(
        generation_pb2.Animation(), {"frame_milliseconds": frame_milliseconds, "back_and_forth": back_and_forth}
    )


def traverse_request(
    model: str,
    path: Path,
    *,
    grid: generation_pb2.GridOptions | None = None,
    animation: generation_pb2.Animation | None = None,
    **options: Unpack[TraverseOptions],
) -> generation_pb2.TraverseRequest:
    """Build a request for a traversal.

    Args:
        model: Name of the model.
        path: The way it goes.
        grid: Asks for all frames as tiles besides.
        animation: Asks for all frames as an animation besides; not with `grid`.
        **options: See `TraverseOptions`.

    Returns:
        The request, not yet judged by the gateway.

    Raises:
        TypeError: There is no such option or path, or one has a value of a wrong type.
        ValueError: The request cannot hold a value; the message begins with the option's name.
    """
    _refuse_unknown(options, TraverseOptions)
    request = generation_pb2.TraverseRequest(model=model, grid=grid, animation=animation)
    match path:
        case Sweep():
            request.sweep.CopyFrom(_sweep(path))
        case Interpolation():
            request.interpolation.CopyFrom(_interpolation(path))
        case Arithmetic():
            request.arithmetic.CopyFrom(_arithmetic(path))
        case _:
            raise TypeError(f"path: must be a Sweep, an Interpolation or an Arithmetic, not {path!r}")
    return _filled(request, options)


def translate_request(model: str, **options: Unpack[TranslateOptions]) -> generation_pb2.TranslateRequest:
    """Build a request for translations, which lacks only the picture.

    Args:
        model: Name of the model.
        **options: See `TranslateOptions`.

    Returns:
        The request, not yet judged by the gateway.

    Raises:
        TypeError: There is no such option, or one has a value of a wrong type.
        ValueError: The request cannot hold a value; the message begins with the option's name.
    """
    _refuse_unknown(options, TranslateOptions)
    return _filled(generation_pb2.TranslateRequest(model=model), options)


def _sweep(path: Sweep) -> generation_pb2.Sweep:
    condition = _condition(_held(path))
    return _filled(generation_pb2.Sweep(condition=condition), {"x": path.x, "y": path.y, "seed": path.seed})


def _interpolation(path: Interpolation) -> generation_pb2.Interpolation:
    conditions = {
        "from_condition": {"label": path.from_label, "codes": path.from_codes, "attributes": path.from_attributes},
        "to_condition": {"label": path.to_label, "codes": path.to_codes, "attributes": path.to_attributes},
    }
    numbers = {"from_seed": path.from_seed, "to_seed": path.to_seed, "steps": path.steps}
    return _filled(generation_pb2.Interpolation(), conditions | numbers)


def _arithmetic(path: Arithmetic) -> generation_pb2.Arithmetic:
    condition = _condition(_held(path))
    return _filled(generation_pb2.Arithmetic(condition=condition), {"a": path.a, "b": path.b, "c": path.c})


def _held(path: Sweep | Arithmetic) -> dict[str, Any]:
    return {"label": path.label, "codes": path.codes, "attributes": path.attributes}


def _condition(shown: Mapping[str, Any]) -> generation_pb2.Condition | None:
    """Build a condition, or None where nothing is given: only what is absent takes its default."""
    if all(value is None for value in shown.values()):
        return None
    return _filled(generation_pb2.Condition(), shown)


def _refuse_unknown(options: Mapping[str, Any], known: type) -> None:
    unknown = options.keys() - known.__annotations__.keys()
    if unknown:
        raise TypeError(f"no such option: {', '.join(unknown)}; allowed: {', '.join(known.__annotations__)}")


def _filled(message: AnyMessage, options: Mapping[str, Any]) -> AnyMessage:
    """Set what the options ask for, and name the option that cannot be."""
    for option, value in options.items():
        if value is not None:
            try:
                fields = _fields_of(option, value)
                _refuse_out_of_range(message, fields)
                message.MergeFrom(type(message)(**fields))
            except (TypeError, ValueError) as error:
                raise type(error)(f"{option}: {error}") from error
    return message


def _refuse_out_of_range(message: Message, fields: Mapping[str, Any]) -> None:
    """Raise ValueError where a field cannot hold a whole number; protobuf would not say what it can hold."""
    for name, value in fields.items():
        most = _MOST.get(message.DESCRIPTOR.fields_by_name[name].type)
        if most is not None:
            for number in value if isinstance(value, Sequence) else [value]:
                if isinstance(number, Integral) and not 0 <= int(number) <= most:
                    raise ValueError(f"must be 0 to {most}, got {number}")


def _fields_of(option: str, value: Any) -> dict[str, Any]:
    """Return the fields of a message that an option sets."""
    match option:
        case "labels":
            return _fields_of_labels(value)
        case "label":
            return {"label_name" if isinstance(value, str) else "label_id": value}
        case "codes":
            return {"codes": [_code_value(code, setting) for code, setting in value.items()]}
        case "attributes":
            return {"attributes": {name: _attribute_value(name, number) for name, number in value.items()}}
        case "format":
            return {"format": _one_of(FORMATS, value)}
        case "direction":
            return {"direction": _one_of(DIRECTIONS, value)}
        case "to" | "source":
            return {"target_domain" if option == "to" else "source_domain": value}
        case "x" | "y":
            return {option: _axis(value)}
        case "from_condition" | "to_condition":
            return {option: _condition(value)}
    return {option: value}


def _one_of(allowed: Mapping[Any, Any], value: Any) -> Any:
    if value not in allowed:
        raise ValueError(f"{value!r} is not supported; allowed: {', '.join(allowed)}")
    return allowed[value]


def _fields_of_labels(labels: Any) -> dict[str, Any]:
    listed = list(labels) if isinstance(labels, Iterable) and not isinstance(labels, str) else [labels]
    names = [label for label in listed if isinstance(label, str)]
    if not listed:
        raise ValueError("empty; leave it out to have the classes drawn")
    if not names:
        return {"label_ids": listed}
    if len(names) < len(listed):
        raise ValueError("give all by id or all by name")
    return {"label_names": names}


def _code_value(code: str, value: Any) -> generation_pb2.CodeValue:
    kind = "name" if isinstance(value, str) else "index" if isinstance(value, Integral) else "number"
    return _filled(generation_pb2.CodeValue(code=code), {kind: value})


def _attribute_value(name: str, value: Any) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


def _axis(axis: Axis) -> generation_pb2.Axis:
    message = _filled(generation_pb2.Axis(code=axis.code), {"values": axis.values})
    if axis.steps is not None:
        steps = {"start": axis.start, "end": axis.end, "steps": axis.steps}
        message.range.CopyFrom(_filled(generation_pb2.Range(), steps))
    return message
