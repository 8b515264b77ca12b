"""One envelope through a model, chunk by chunk: items → pictures → encoded pictures → results.

Before each chunk it is asked which items somebody still awaits; the others are left unrun.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Lock

from gantry.v1 import generation_pb2, worker_pb2
from services.worker.archive import Archive, ArchiveError
from services.worker.cores import count_cores
from services.worker.execution import Execution, plan_of
from services.worker.generation import GenerationModel
from services.worker.imaging import FORMATS, LOSSY_FORMATS, Pixels, encode, picture_facts
from services.worker.inputs import PICTURE, takes
from services.worker.outcome import Outcome
from services.worker.translation import TranslationModel


def _nobody_has_gone(place: int) -> bool:  # noqa: ARG001 (of every place)
    return False


class Runner:
    """Runs envelopes on the model of one archive; safe to call from several threads at once.

    Attributes:
        execution: Name of the plan that the model runs under.
    """

    def __init__(
        self, archive: Archive, execution: Execution = "auto", device: str = "cpu", threads: int | None = None
    ) -> None:
        """Load the graphs of an archive and run each once.

        Args:
            archive: The archive, already checked.
            execution: The precision, or "auto"; see `services.worker.execution`.
            device: "cpu", "cuda", or a certain GPU such as "cuda:1".
            threads: Chunks of an envelope that run at once. Default: the number of CPU cores it may use.

        Raises:
            ArchiveError: A graph cannot be loaded, or does not give what the card says.
        """
        self._archive = archive
        plan = plan_of(archive.card, execution, device)
        self.execution = plan.name
        self._threads = threads or count_cores()
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="gantry-chunk")
        make = TranslationModel if takes(archive.card, PICTURE) else GenerationModel
        try:
            self._model: GenerationModel | TranslationModel = make(archive, plan)
        except Exception as error:
            # A graph that does not belong to its card can fail in any way.
            raise ArchiveError(f"{' or '.join(archive.graphs)}: {error}") from error

    def run(
        self, request: worker_pb2.WorkRequest, is_abandoned: Callable[[int], bool] = _nobody_has_gone
    ) -> worker_pb2.WorkReply:
        """Run one envelope.

        Args:
            request: The items; with none, the worker only describes itself.
            is_abandoned: Whether the caller of the item at a place has gone.

        Returns:
            One result per item, in order. An item at fault gets an error of its own and never touches the others.
        """
        if not request.items:
            description = worker_pb2.WorkerDescription(card_json=self._archive.card_json)
            return worker_pb2.WorkReply(description=description, execution=self.execution)
        envelope = _EnvelopeRun(request.items, self._find_fault, is_abandoned)
        if self._threads == 1 or len(request.items) <= self._model.chunk_items:
            self._work_off(envelope)
        else:
            list(self._executor.map(self._work_off, [envelope] * self._threads))
        return worker_pb2.WorkReply(
            results=envelope.results,
            run_seconds=sum(envelope.run_seconds),
            encode_seconds=sum(envelope.encode_seconds),
            execution=self.execution,
            chunk_items=self._model.chunk_items,
        )

    def _find_fault(self, item: worker_pb2.WorkItem) -> str:
        return _format_fault(item) or self._model.find_fault(item)

    def _work_off(self, envelope: "_EnvelopeRun") -> None:
        """Run chunks of an envelope until none is left."""
        while places := envelope.take(self._model.chunk_items):
            items = [envelope.items[place] for place in places]
            started = time.perf_counter()
            outcomes = self._make(items)
            run_ended = time.perf_counter()
            for place, item, outcome in zip(places, items, outcomes, strict=True):
                envelope.results[place].CopyFrom(self._result(item, outcome))
            envelope.run_seconds.append(run_ended - started)
            envelope.encode_seconds.append(time.perf_counter() - run_ended)

    def _make(self, items: Sequence[worker_pb2.WorkItem]) -> list[Outcome]:
        """Make the pictures of a chunk; each alone where they fail together, so that only the one at fault fails."""
        try:
            return self._model.make(items)
        except (RuntimeError, MemoryError):
            if len(items) == 1:
                return [worker_pb2.WorkResult(error="the model failed on the item")]
        return [outcome for item in items for outcome in self._make([item])]

    def _result(self, item: worker_pb2.WorkItem, outcome: Outcome) -> worker_pb2.WorkResult:
        if isinstance(outcome, worker_pb2.WorkResult):
            return outcome
        try:
            return worker_pb2.WorkResult(
                image=self._encode(item, outcome.pixels, item.facts),
                cycled=None if outcome.cycled is None else self._encode(item, outcome.cycled, item.facts),
                cycle_l1=outcome.cycle_l1,
            )
        except (ValueError, OSError, MemoryError):
            return worker_pb2.WorkResult(error="the picture could not be encoded")

    def _encode(
        self, item: worker_pb2.WorkItem, pixels: Pixels, facts: Iterable[worker_pb2.Fact]
    ) -> generation_pb2.EncodedImage:
        text = picture_facts(self._archive.card, self._archive.digest, self.execution, facts)
        return encode(pixels, item.format, item.quality, text)


def _format_fault(item: worker_pb2.WorkItem) -> str:
    if item.format not in FORMATS:
        return f"format {item.format}: cannot be encoded"
    if item.format in LOSSY_FORMATS and not 1 <= item.quality <= 100:
        return f"quality {item.quality}: must be 1 to 100"
    return ""


class _EnvelopeRun:
    """The items of an envelope under way: which are still to run, and what came of the others."""

    def __init__(
        self,
        items: Sequence[worker_pb2.WorkItem],
        find_fault: Callable[[worker_pb2.WorkItem], str],
        is_abandoned: Callable[[int], bool],
    ) -> None:
        self.items, self._is_abandoned, self._arrived = items, is_abandoned, time.monotonic()
        faults = [find_fault(item) for item in items]
        self.results = [worker_pb2.WorkResult(error=fault) if fault else worker_pb2.WorkResult() for fault in faults]
        self.run_seconds: list[float] = []
        self.encode_seconds: list[float] = []
        self._sound = iter([place for place, fault in enumerate(faults) if not fault])
        self._lock = Lock()

    def take(self, count: int) -> list[int]:
        """Return the places of the next items to run: at most so many, none when all have been taken."""
        with self._lock:
            return list(islice(self._wanted(), count))

    def _wanted(self) -> Iterator[int]:
        for place in self._sound:
            seconds = self.items[place].wanted_seconds
            if self._is_abandoned(place) or (seconds and time.monotonic() - self._arrived >= seconds):
                self.results[place].unrun = True
            else:
                yield place
