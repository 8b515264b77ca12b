"""Models that keep killing their workers are set aside for a while, so that the others serve on."""

from collections.abc import Callable
from dataclasses import dataclass

from services.backends.base import BackendUnavailableError, ModelKey

# Workers that a model loses without an answer in between before it is set aside.
LOSSES_IN_A_ROW = 3
# What one counts that was killed because its callers had left: chance, unless there is no answer for a long time.
DESERTED_SHARE = 1 / 8
# Seconds for which it is set aside, then and at each further loss.
ASIDE_SECONDS = (1.0, 4.0, 15.0, 60.0)


@dataclass
class _Losses:
    in_a_row: int = 0
    weight: float = 0.0
    until: float = 0.0


class Quarantine:
    """Knows which models are set aside."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none.

        Args:
            clock: Monotonic seconds.
        """
        self._clock = clock
        self._losses: dict[ModelKey, _Losses] = {}

    def note_answer(self, key: ModelKey) -> None:
        """Note that a worker answered an envelope of a model."""
        self._losses.pop(key, None)

    def note_loss(self, key: ModelKey, share: float = 1.0) -> float:
        """Note that a worker was lost with an envelope of a model.

        Args:
            key: The model.
            share: What it counts.

        Returns:
            Seconds for which the model is set aside; 0 where it is not.
        """
        losses = self._losses.setdefault(key, _Losses())
        losses.in_a_row += 1
        losses.weight += share
        beyond = int(losses.weight) - LOSSES_IN_A_ROW
        if beyond < 0:
            return 0.0
        pause = ASIDE_SECONDS[min(beyond, len(ASIDE_SECONDS) - 1)]
        losses.until = self._clock() + pause
        return pause

    def check(self, key: ModelKey) -> None:
        """Refuse a model that is set aside.

        Raises:
            BackendUnavailableError: It is; the error says when it is tried again.
        """
        losses = self._losses.get(key)
        if losses and (left := losses.until - self._clock()) > 0:
            why = f"model {key.name} is set aside: it lost {losses.in_a_row} workers in a row"
            raise BackendUnavailableError(why, retry_seconds=left)
