"""A file that may change while the gateway runs, as Kubernetes changes mounted secrets: what it says now."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")

# At most this often the files are looked at, however many calls there are.
CHECK_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Watched(Generic[Value]):
    """What a few files say together, read again when one of them changes. Safe to share among threads.

    Files that cannot be read or understood any more are logged once, and what they said before stays in use.
    """

    def __init__(self, paths: Sequence[Path], load: Callable[[], Value], clock: Callable[[], float]) -> None:
        """Read the files for the first time.

        Args:
            paths: The files; symbolic links are followed, so that a swapped link is a change.
            load: Reads them. Raises OSError or ValueError where it cannot, without any secret in the message.
            clock: Monotonic seconds.

        Raises:
            OSError: A file cannot be read.
            ValueError: A file does not say what it should.
        """
        self._paths, self._load, self._clock = paths, load, clock
        self._lock = threading.Lock()
        self._checked = clock()
        # The stamp is older than what is read: a change in between shows at the next look.
        self._stamp = self._look()
        self._value = load()

    def __call__(self) -> Value:
        """Return what the files say."""
        with self._lock:
            if self._clock() - self._checked >= CHECK_SECONDS:
                self._checked = self._clock()
                self._reload_if_changed()
            return self._value

    def _reload_if_changed(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        names = ", ".join(map(str, self._paths))
        try:
            self._value = self._load()
            _log.info("read %s again", names)
        except (OSError, ValueError) as error:
            _log.error("changed but unusable: %s; what was read before stays in use: %s", names, error)

    def _look(self) -> list[tuple[int, ...]]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file does; nothing of a file that is not there, which reading it will tell."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    # Its permissions too, which may be what made it unreadable: its times may be no finer than some milliseconds.
    return stat.st_dev, stat.st_ino, stat.st_ctime_ns, stat.st_size, stat.st_mode
