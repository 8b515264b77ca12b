"""How far a job is: a bar for a person at a terminal, lines for a log, metrics for a Prometheus Pushgateway."""

import logging
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, pushadd_to_gateway

from services.batch.job import Tally

LOG_SECONDS, PUSH_SECONDS = 10.0, 30.0
PUSH_JOB = "gantry-batch"

_log = logging.getLogger(__name__)


class Reporter(Protocol):
    """Receives the progress of a job about twice a second."""

    def tell(self, tally: Tally) -> None:
        """Take in how far it is."""

    def finish(self, tally: Tally, *, finished: bool) -> None:
        """Take in what became of it; `finished` where the run came to the end of its items, failed ones among them."""


class LogLines:
    """A line in the log now and then."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            total: Number of items.
            clock: Monotonic seconds.
        """
        self._total, self._clock = total, clock
        self._began = self._logged = clock()

    def tell(self, tally: Tally) -> None:
        """See `Reporter.tell`."""
        if self._clock() - self._logged >= LOG_SECONDS:
            self._logged = self._clock()
            _log.info("%s", self._line(tally))

    def finish(self, tally: Tally, *, finished: bool) -> None:  # noqa: ARG002 - the counts say it
        """See `Reporter.finish`."""
        _log.info("%s", self._line(tally))

    def _line(self, tally: Tally) -> str:
        rate = images_per_second(tally, self._clock() - self._began)
        left = self._total - tally.settled
        line = (
            f"{tally.settled}/{self._total}: {tally.done} done, {tally.skipped} finished before, {tally.failed} failed"
        )
        return f"{line}; {rate:.1f} images/s" + (f", {left / rate:.0f} s left" if left and rate else "")


class Bar:
    """A bar on a terminal."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Show it; arguments as of `LogLines`."""
        # Imported only where it is used: it takes as long as several calls.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._clock, self._began = clock, clock()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("images", total=total, rate="")
        self._progress.start()

    def tell(self, tally: Tally) -> None:
        """See `Reporter.tell`."""
        rate = images_per_second(tally, self._clock() - self._began)
        failed = f", {tally.failed} failed" if tally.failed else ""
        self._progress.update(self._task, completed=tally.settled, rate=f"{rate:.1f} images/s{failed}")

    def finish(self, tally: Tally, *, finished: bool) -> None:  # noqa: ARG002 - the counts say it
        """See `Reporter.finish`."""
        self.tell(tally)
        self._progress.stop()


class JobMetrics:
    """The metrics of a run.

    Attributes:
        registry: What holds them. The time of the last success joins with `succeeded`: a run that has none is not to
            hide that of the run before.
    """

    def __init__(self) -> None:
        """Begin with zeros."""
        self.registry = CollectorRegistry()
        self._items = Gauge("gantry_job_items", "Items of the run by fate.", ["status"], registry=self.registry)
        self._seconds = Gauge("gantry_job_seconds", "Seconds the run has taken.", registry=self.registry)
        self._rate = Gauge("gantry_job_images_per_second", "Items made per second.", registry=self.registry)

    def update(self, tally: Tally, seconds: float) -> None:
        """Take in how far the run is, and the seconds it took."""
        for status, number in (("done", tally.done), ("skipped", tally.skipped), ("failed", tally.failed)):
            self._items.labels(status).set(number)
        self._seconds.set(seconds)
        self._rate.set(images_per_second(tally, seconds))

    def succeeded(self) -> None:
        """Take in that the run came to the end of its items."""
        Gauge(
            "gantry_job_last_success_timestamp_seconds",
            "When a run last came to the end of its items, failed ones among them.",
            registry=self.registry,
        ).set_to_current_time()


class Pusher:
    """The metrics in a Pushgateway, which outlives the job. One that cannot be reached is no fault of the job."""

    def __init__(self, url: str, grouping: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            url: Of the Pushgateway.
            grouping: Labels that tell this job's metrics from others', besides `job`.
            clock: Monotonic seconds.
        """
        self._url, self._grouping, self._clock = url, dict(grouping), clock
        self._metrics = JobMetrics()
        self._began = clock()
        self._pushed = self._began - PUSH_SECONDS

    def tell(self, tally: Tally) -> None:
        """See `Reporter.tell`."""
        if self._clock() - self._pushed >= PUSH_SECONDS:
            self._push(tally)

    def finish(self, tally: Tally, *, finished: bool) -> None:
        """See `Reporter.finish`."""
        if finished:
            self._metrics.succeeded()
        self._push(tally)

    def _push(self, tally: Tally) -> None:
        self._pushed = self._clock()
        self._metrics.update(tally, self._pushed - self._began)
        try:
            pushadd_to_gateway(self._url, PUSH_JOB, self._metrics.registry, self._grouping, timeout=5)
        except (OSError, HTTPException, ValueError) as error:
            _log.warning("metrics could not be pushed to %s: %s", self._url, error)


def images_per_second(tally: Tally, seconds: float) -> float:
    """Return how many items a run makes in a second; those that were finished before do not count."""
    return tally.done / seconds if seconds > 0 else 0.0
