"""The pictures of a TranslateStream that have begun to arrive: chunks come together to requests."""

import math
from collections.abc import Container
from dataclasses import dataclass

from gantry.v1 import generation_pb2
from services.gateway.errors import InvalidRequestError, Violation
from services.gateway.planning.output import Limits
from services.gateway.planning.translate import check_bytes

MAX_ID_BYTES = 256
# Ids of refused pictures whose last chunk has not come; of one that is forgotten, further chunks get another error.
_MAX_REFUSED = 1024


@dataclass(frozen=True)
class StreamLimits:
    """What one stream may hold.

    Attributes:
        pictures: The most pictures under way, and the most that are incomplete.
        bytes: The most bytes of pictures, complete or not.
        idle_seconds: The most seconds in which nothing comes while nothing is under way.
    """

    pictures: int
    bytes: int
    idle_seconds: float = math.inf


@dataclass
class _Upload:
    """A picture that is not complete: its request without the picture, and what has come of that."""

    request: generation_pb2.TranslateRequest
    image: bytearray


class Uploads:
    """Brings the chunks of each picture together, in whatever order the pictures' chunks come."""

    def __init__(self, limits: StreamLimits, picture_limits: Limits, unanswered: Container[str]) -> None:
        """Begin with nothing.

        Args:
            limits: What the stream may hold.
            picture_limits: What one picture may have.
            unanswered: Ids of the pictures that are complete and not answered, now and later.
        """
        self._limits, self._picture_limits, self._unanswered = limits, picture_limits, unanswered
        self._open: dict[str, _Upload] = {}
        self._refused: dict[str, None] = {}
        self.bytes = 0
        """Bytes of all pictures that are not complete."""

    @property
    def unfinished(self) -> list[str]:
        """Ids of the pictures that are not complete."""
        return list(self._open)

    def add(self, message: generation_pb2.TranslateStreamRequest) -> generation_pb2.TranslateRequest | None:
        """Take a message.

        Args:
            message: Its id is sound.

        Returns:
            The request with its whole picture, where this was the last of it.

        Raises:
            InvalidRequestError: The message does not belong where it stands, or there is no room. Whatever else comes
                of its picture is thrown away without a further error.
            ImageTooLargeError: The picture has too many bytes; the same.
        """
        if self.ignores(message):
            if not message.more:
                del self._refused[message.id]
            return None
        self._refused.pop(message.id, None)
        try:
            self._take(message)
        except Exception:
            self.refuse(message)
            raise
        if message.more:
            return None
        return self._close(message.id)

    def ignores(self, message: generation_pb2.TranslateStreamRequest) -> bool:
        """Whether a message is a further chunk of a picture that was refused."""
        return message.WhichOneof("part") == "chunk" and message.id in self._refused

    def refuse(self, message: generation_pb2.TranslateStreamRequest) -> None:
        """Throw away what has come of a message's picture, and whatever else comes of it."""
        self._drop(message.id)
        if message.more:
            self._refuse(message.id)

    def _take(self, message: generation_pb2.TranslateStreamRequest) -> None:
        part, is_open = message.WhichOneof("part"), message.id in self._open
        if part is None:
            raise InvalidRequestError(Violation("part", "required: translate or chunk"))
        if part == "chunk" and not is_open:
            raise InvalidRequestError(Violation("chunk", "no picture of this id is incomplete; begin with translate"))
        if part == "translate":
            if is_open or message.id in self._unanswered:
                raise InvalidRequestError(Violation("id", "a picture of this id is not yet answered"))
            self._begin(message)
        data = message.chunk if part == "chunk" else message.translate.image
        upload = self._open[message.id]
        upload.image += data
        self.bytes += len(data)
        check_bytes(len(upload.image), self._picture_limits)
        if self.bytes > self._limits.bytes:
            fault = f"the incomplete pictures of a stream may have {self._limits.bytes} bytes in all; finish one first"
            raise InvalidRequestError(Violation(str(part), fault))

    def _begin(self, message: generation_pb2.TranslateStreamRequest) -> None:
        if len(self._open) >= self._limits.pictures:
            fault = f"at most {self._limits.pictures} pictures of a stream may be incomplete; finish one first"
            raise InvalidRequestError(Violation("id", fault))
        upload = _Upload(generation_pb2.TranslateRequest(), bytearray())
        upload.request.CopyFrom(message.translate)
        upload.request.ClearField("image")
        self._open[message.id] = upload

    def _close(self, picture: str) -> generation_pb2.TranslateRequest:
        upload = self._open[picture]
        self._drop(picture)
        upload.request.image = bytes(upload.image)
        return upload.request

    def _drop(self, picture: str) -> None:
        if upload := self._open.pop(picture, None):
            self.bytes -= len(upload.image)

    def _refuse(self, picture: str) -> None:
        self._refused[picture] = None
        if len(self._refused) > _MAX_REFUSED:
            del self._refused[next(iter(self._refused))]


def check_id(picture: str) -> None:
    """Refuse an id that no answer could carry.

    Args:
        picture: The id that a message of the stream has.

    Raises:
        InvalidRequestError: It is empty or too long; which picture it is of cannot be told.
    """
    size = len(picture.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidRequestError(Violation("id", f"must be 1 to {MAX_ID_BYTES} bytes, got {size}"))
