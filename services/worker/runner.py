"""One envelope through a model: items → pictures → encoded pictures → results."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from gantry.v1 import generation_pb2, worker_pb2
from services.worker.archive import Archive, ArchiveError
from services.worker.cores import count_cores
from services.worker.execution import Execution, plan_of
from services.worker.generation import Generation
from services.worker.imaging import FORMATS, LOSSY_FORMATS, Pixels, encode, picture_facts
from services.worker.inputs import PICTURE, takes
from services.worker.outcome import Outcome
from services.worker.translation import Translation


class Runner:
    """Runs envelopes on the model of one archive; safe to call from several threads at once.

    Attributes:
        execution: Name of the plan that the model runs under.
    """

    def __init__(self, archive: Archive, execution: Execution = "auto", device: str = "cpu") -> None:
        """Load the graphs of an archive and run each once.

        Args:
            archive: The archive, already checked.
            execution: The precision, or "auto"; see `services.worker.execution`.
            device: "cpu", "cuda", or a certain GPU such as "cuda:1".

        Raises:
            ArchiveError: A graph cannot be loaded, or does not give what the card says.
        """
        self._archive = archive
        plan = plan_of(archive.card, execution, device)
        self.execution = plan.name
        self._threads = ThreadPoolExecutor(count_cores(), thread_name_prefix="gantry-chunk")
        translates = takes(archive.card, PICTURE)
        make = Translation if translates else Generation
        # Small pictures are encoded sooner than they are handed to a thread.
        self._encode_all = self._threads.map if translates else map
        try:
            self._model: Generation | Translation = make(archive, plan, self._threads)
        except Exception as error:
            # A graph that does not belong to its card can fail in any way.
            raise ArchiveError(f"{' or '.join(archive.graphs)}: {error}") from error

    def run(self, request: worker_pb2.WorkRequest) -> worker_pb2.WorkReply:
        """Run one envelope.

        Args:
            request: The items; with none, the worker only describes itself.

        Returns:
            One result per item, in order. An item at fault gets an error of its own and never touches the others.
        """
        if not request.items:
            description = worker_pb2.WorkerDescription(card_json=self._archive.card_json)
            return worker_pb2.WorkReply(description=description, execution=self.execution)
        faults = [_format_fault(item) or self._model.find_fault(item) for item in request.items]
        sound = [item for item, fault in zip(request.items, faults, strict=True) if not fault]
        started = time.perf_counter()
        outcomes = self._model.make(sound)
        run_ended = time.perf_counter()
        results = iter(list(self._encode_all(self._result, sound, outcomes)))
        return worker_pb2.WorkReply(
            results=[worker_pb2.WorkResult(error=fault) if fault else next(results) for fault in faults],
            run_seconds=run_ended - started,
            encode_seconds=time.perf_counter() - run_ended,
            execution=self.execution,
        )

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
