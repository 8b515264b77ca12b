"""Items that have cost several workers their lives are remembered for a while, and refused."""

import hashlib
from collections.abc import Callable

from gantry.v1 import worker_pb2
from services.backends.base import ModelKey
from services.gateway.errors import ItemFailedError

# Workers that an item may cost: the first may have ended by chance, or for another item.
MOST_LOSSES = 2
REMEMBERED_SECONDS = 300.0
_MOST_ITEMS = 1024

Digest = tuple[ModelKey, int, bytes]


class Poison:
    """Knows the items that are refused."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none.

        Args:
            clock: Monotonic seconds.
        """
        self._clock = clock
        # In the order in which they are forgotten.
        self._until: dict[Digest, float] = {}

    def note(self, key: ModelKey, item: worker_pb2.WorkItem) -> ItemFailedError:
        """Refuse an item from now on; returns the error that says so."""
        digest = _digest(key, item)
        self._until.pop(digest, None)
        self._until[digest] = self._clock() + REMEMBERED_SECONDS
        if len(self._until) > _MOST_ITEMS:
            del self._until[next(iter(self._until))]
        return ItemFailedError(f"{MOST_LOSSES} workers were lost while they made it")

    def check(self, key: ModelKey, item: worker_pb2.WorkItem) -> None:
        """Refuse an item that was noted a short while ago.

        Raises:
            ItemFailedError: It was.
        """
        while self._until and (oldest := next(iter(self._until.items())))[1] <= self._clock():
            del self._until[oldest[0]]
        # Few have the size of one that was noted, and it takes longer to digest megabytes.
        is_like_one = self._until and (key, _work_of(item).ByteSize()) in {digest[:2] for digest in self._until}
        if is_like_one and _digest(key, item) in self._until:
            raise ItemFailedError(f"{MOST_LOSSES} workers were lost a short while ago while they made the same")


def _digest(key: ModelKey, item: worker_pb2.WorkItem) -> Digest:
    """Return what tells an item's work from others, however it is encoded."""
    work = _work_of(item)
    return key, work.ByteSize(), hashlib.sha256(work.SerializeToString(deterministic=True)).digest()


def _work_of(item: worker_pb2.WorkItem) -> worker_pb2.TranslateWork | worker_pb2.GenerateWork:
    return item.translate if item.HasField("translate") else item.generate
