"""What the manifests of a job tell: counts, speed, failures, shards. Reads; never writes."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

from services.batch.description import description_of
from services.batch.manifest import Index, Record, load, shard_of
from services.batch.storage import Store

# A run that was not heard of for so long was not running.
GAP_SECONDS = 60.0
_EXAMPLES = 20


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed item.

    Attributes:
        input: What it was made from.
        reason: Why it failed, for programs.
        message: The same for a person.
    """

    input: str
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a job stands.

    Attributes:
        done: Finished items.
        under_way: Items whose output was about to appear when the manifest was written or its process killed.
        failed: Failed items.
        reasons: The failed ones by reason.
        failures: The first of them by the name of their output.
        images_per_second: Finished items per second while shards ran, side by side; None before two are finished.
        shards: Number of shards.
        missing: Shards that have not begun.
    """

    done: int
    under_way: int
    failed: int
    reasons: dict[str, int]
    failures: list[Failure]
    images_per_second: float | None
    shards: int
    missing: list[int]

    def to_json(self) -> str:
        """Return it as one JSON object."""
        return json.dumps(asdict(self), indent=2)

    def to_text(self) -> str:
        """Return it for a person."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        speed = "" if self.images_per_second is None else f", {self.images_per_second:.1f} images/s"
        yield f"{self.done} done, {self.under_way} under way, {self.failed} failed{speed}"
        missing = f"; not begun: {', '.join(map(str, self.missing))}" if self.missing else ""
        yield f"{self.shards} shard{'s' if self.shards > 1 else ''}{missing}"
        for reason, number in self.reasons.items():
            yield f"{number} × {reason}"
        for failure in self.failures:
            yield f"  {failure.input}: {failure.message}"
        if self.failed > len(self.failures):
            yield f"  and {self.failed - len(self.failures)} more"


def status_of_job(store: Store) -> Status | None:
    """Read all manifests of a job.

    Args:
        store: Where its manifest is.

    Returns:
        How it stands; None where no job ran.
    """
    names = store.journals()
    if not names:
        return None
    index, speeds = Index(), []
    try:
        for name in names:
            speeds.append(_Speed())
            load(store, name, index, speeds[-1].count)
        counts = index.counts()
        shards = [shard_of(name) for name in names]
        described = description_of(store)
        number = described.shards if described else max(shard.count for shard in shards)
        begun = {shard.index for shard in shards if shard.count == number}
        known = [speed.images_per_second for speed in speeds if speed.images_per_second is not None]
        return Status(
            done=counts.get("done", 0),
            under_way=counts.get("staged", 0),
            failed=counts.get("failed", 0),
            reasons=index.failures(),
            failures=[_failure(record) for _, record in zip(range(_EXAMPLES), index.records("failed"), strict=False)],
            images_per_second=sum(known) if known else None,
            shards=number,
            missing=[shard for shard in range(number) if shard not in begun],
        )
    finally:
        index.close()


class _Speed:
    """How fast one shard is, without the time in which it did not run."""

    def __init__(self) -> None:
        self._last: datetime | None = None
        self._seconds, self._done = 0.0, 0

    @property
    def images_per_second(self) -> float | None:
        return self._done / self._seconds if self._seconds > 0 else None

    def count(self, record: Record) -> None:
        """Take in a line; those of a journal come in order, but for some that were written side by side."""
        written = datetime.fromisoformat(record.time)
        if self._last is not None and abs(gap := (written - self._last).total_seconds()) <= GAP_SECONDS:
            self._seconds += gap
            self._done += record.status == "done"
        self._last = written


def _failure(record: Record) -> Failure:
    return Failure(input=record.input, reason=record.reason or "UNKNOWN", message=record.message or "")
