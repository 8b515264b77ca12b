"""A lock where there is nothing but objects: its owner writes one again and again, so that a dead owner shows."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Self

from services.batch.faults import LockedError

# An owner writes its lock this often; one that was not written for the longer time is of a dead owner.
BEAT_SECONDS, DEAD_SECONDS = 4.0, 15.0
# One that waits for an owner to be dead looks this often.
_LOOK_SECONDS = 1.0

_log = logging.getLogger(__name__)


class ObjectLock:
    """An object that its owner writes again and again, so that a dead owner shows."""

    def __init__(
        self,
        read: Callable[[], bytes | None],
        write: Callable[[bytes, bool], None],
        remove: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare the lock.

        Args:
            read: Reads the object, None where there is none.
            write: Writes it; with False only where there is none, else FileExistsError.
            remove: Removes it.
            clock: Monotonic seconds.
            sleep: Waits the seconds it is given.
        """
        self._read, self._write, self._remove = read, write, remove
        self._clock, self._sleep = clock, sleep
        self._owner, self._beats = uuid.uuid4().hex, 0
        self._stopped = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._keep, name="lock", daemon=True)

    def acquire(self, message: str) -> Self:
        """Take the lock; waits where there is an owner, until it shows to live or to be dead.

        Args:
            message: Of the error.

        Raises:
            LockedError: Another process has it.
        """
        try:
            self._write(self._beat(), False)
        except FileExistsError:
            self._wait_for_death(message)
            self._write(self._beat(), True)
            # Of several that found it dead, the last one to write has it; they all look within one pause.
            self._sleep(2 * _LOOK_SECONDS)
            if not self._is_mine(self._read()):
                raise LockedError(message) from None
        self._thread.start()
        return self

    def check(self) -> None:
        """Raise LockedError where another process has taken the lock, because this one seemed dead."""
        if self._lost is not None:
            raise LockedError(self._lost)

    def release(self) -> None:
        """Give the lock back."""
        self._stopped.set()
        self._thread.join()
        if self._lost is not None:
            return
        try:
            if self._is_mine(self._read()):
                self._remove()
        except Exception as error:  # What was done stands.
            _log.warning("the lock could not be given back; the next run will wait for it: %s", error)

    def _wait_for_death(self, message: str) -> None:
        seen, since = self._read(), self._clock()
        _log.info("a run has left its lock, or holds it: waiting up to %.0f s for a sign of life", DEAD_SECONDS)
        while seen is not None and self._clock() - since < DEAD_SECONDS:
            self._sleep(_LOOK_SECONDS)
            if self._read() not in (seen, None):
                raise LockedError(message)

    def _keep(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            try:
                found = self._read()
                if found is not None and not self._is_mine(found):
                    self._lost = "another process has taken over this shard of the same output"
                    return
                self._write(self._beat(), True)
            except Exception as error:  # The next beat may reach the store again.
                _log.warning("the lock could not be renewed: %s", error)

    def _is_mine(self, found: bytes | None) -> bool:
        return found is not None and found.startswith(self._owner.encode())

    def _beat(self) -> bytes:
        self._beats += 1
        return f"{self._owner} {self._beats}\n".encode()
