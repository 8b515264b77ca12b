"""Cut an envelope into calls that a TorchServe surely lets through, both ways.

TorchServe refuses a call that is over its limit, and kills the worker that answers with more.
"""

from collections.abc import Iterator, Sequence

from gantry.v1 import models_pb2, worker_pb2
from services.worker.decoding import ImageError, inspect

# What a picture may take in an answer: encoders can exceed the raw pixels, and headers and facts come on top.
_BYTES_PER_VALUE = 2
OVERHEAD_BYTES = 2048
# The tag and the length of an item in its envelope.
_FRAME_BYTES = 8


def cut(
    items: Sequence[worker_pb2.WorkItem], image: models_pb2.ImageSpec, limit: int
) -> Iterator[worker_pb2.WorkRequest | worker_pb2.WorkReply]:
    """Cut an envelope.

    Args:
        items: Its items.
        image: The pictures that the model makes, as in its card.
        limit: The most bytes of a call or an answer.

    Yields:
        Requests whose answers are to be put together in this order; and in place of a picture that no call can carry,
        the reply that says so.
    """
    part: list[worker_pb2.WorkItem] = []
    sent = answered = OVERHEAD_BYTES
    for item in items:
        request_bytes = item.ByteSize() + _FRAME_BYTES
        reply_bytes = answer_bytes(item, image)
        if part and max(sent + request_bytes, answered + reply_bytes) > limit:
            yield worker_pb2.WorkRequest(items=part)
            part, sent, answered = [], OVERHEAD_BYTES, OVERHEAD_BYTES
        if max(sent + request_bytes, answered + reply_bytes) > limit:
            yield worker_pb2.WorkReply(results=[_too_large(max(request_bytes, reply_bytes), limit)])
            continue
        part.append(item)
        sent, answered = sent + request_bytes, answered + reply_bytes
    if part:
        yield worker_pb2.WorkRequest(items=part)


def answer_bytes(item: worker_pb2.WorkItem, image: models_pb2.ImageSpec) -> int:
    """Return the most bytes that the answer to an item may take.

    Args:
        item: The item; of a picture to translate only the header is read.
        image: The pictures that the model makes, as in its card.
    """
    if not item.HasField("translate"):
        return picture_bytes(image.width * image.height * image.channels)
    try:
        facts = inspect(item.translate.image, item.translate.max_pixels)
    except ImageError:
        # The worker will say no more than this.
        return OVERHEAD_BYTES
    return (2 if item.translate.cycle else 1) * picture_bytes(facts.width * facts.height * image.channels)


def picture_bytes(values: int) -> int:
    """Return the most bytes that a picture of so many values may take in an answer."""
    return values * _BYTES_PER_VALUE + OVERHEAD_BYTES


def _too_large(needed: int, limit: int) -> worker_pb2.WorkResult:
    return worker_pb2.WorkResult(
        bad_image=f"the picture or its answer may take {needed} bytes; this TorchServe passes {limit}"
    )
