"""Python arguments → SampleRequest. What only the gateway can judge, such as which classes there are, is left to it."""

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict, Unpack

from gantry.v1 import generation_pb2
from services.client.pictures import FORMATS, Format

Labels = int | str | Sequence[int] | Sequence[str]


class SampleOptions(TypedDict, total=False):
    """What to sample. An option that is absent or None takes the default of the API.

    Attributes:
        version: Version of the model. Default: the newest.
        labels: Classes, all by id or all by name: one for all pictures, or one per picture. Default: each picture's
            class is drawn from its seed.
        each_class: Makes `count` pictures of every class, ordered by class; then without `labels`.
        count: Number of pictures, at least 1. Default: the number of labels, or 1.
        seed: Seed of the first picture, 0 to 2^64 - 1; picture i has seed + i. Default: the gateway picks one.
        truncation: Truncation ψ, 0 to 1. Default: 1.
        format: How pictures are encoded. Default: "png".
        quality: Of "jpeg" and "webp", 1 to 100. Default: 90.
    """

    version: str | None
    labels: Labels | None
    each_class: bool
    count: int | None
    seed: int | None
    truncation: float | None
    format: Format | None
    quality: int | None


def sample_request(model: str, **options: Unpack[SampleOptions]) -> generation_pb2.SampleRequest:
    """Build a request.

    Args:
        model: Name of the model.
        **options: See `SampleOptions`.

    Returns:
        The request, not yet judged by the gateway.

    Raises:
        TypeError: There is no such option, or one has a value of a wrong type.
        ValueError: The request cannot hold a value; the message begins with the option's name.
    """
    unknown = options.keys() - SampleOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"no such option: {', '.join(unknown)}; allowed: {', '.join(SampleOptions.__annotations__)}")
    request = generation_pb2.SampleRequest(model=model)
    for option, value in options.items():
        if value is not None:
            request.MergeFrom(_request_of(option, value))
    return request


def _request_of(option: str, value: Any) -> generation_pb2.SampleRequest:
    """Build the part of a request that one option asks for."""
    try:
        match option:
            case "labels":
                return _request_of_labels(value)
            case "format" if value not in FORMATS:
                raise ValueError(f"{value!r} is not supported; allowed: {', '.join(FORMATS)}")
            case "format":
                value = FORMATS[value]
        return generation_pb2.SampleRequest(**{option: value})
    except (TypeError, ValueError) as error:
        raise type(error)(f"{option}: {error}") from error


def _request_of_labels(labels: Any) -> generation_pb2.SampleRequest:
    listed = list(labels) if isinstance(labels, Iterable) and not isinstance(labels, str) else [labels]
    names = [label for label in listed if isinstance(label, str)]
    if not listed:
        raise ValueError("empty; leave it out to have the classes drawn")
    if not names:
        return generation_pb2.SampleRequest(label_ids=listed)
    if len(names) < len(listed):
        raise ValueError("give all by id or all by name")
    return generation_pb2.SampleRequest(label_names=names)
