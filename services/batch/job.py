"""The engine of every batch job: takes items, has them made side by side, keeps what is made, and records each step.

The order of an item's steps is what makes a job resumable after a kill at any point: stage the output, write the line
`staged`, commit the output, write the line `done`. An item is finished from the line `staged` on: the next run commits
what was staged, or finds it committed. An item killed before that line is made again, from the beginning.
"""

import asyncio
import errno
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, NamedTuple, Self

from gantry.v1 import models_pb2
from services.batch.faults import LASTING, ItemError, JobError, StoppedError
from services.batch.items import Item
from services.batch.manifest import Manifest, Record, now
from services.batch.storage import Store
from services.batch.threads import in_thread

# Items that are looked at before anybody else gets a turn, and the most of them that are handed on at once.
_LOOK_AT, _HAND_ON = 1024, 32
# What is wrong with one output's name, not with the whole store.
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ, errno.EINVAL}

_log = logging.getLogger(__name__)

Ending = Literal["finished", "stopped", "too many failures"]


@dataclass(frozen=True, kw_only=True)
class JobProvenance:
    """What makes a job's outputs, as its records tell it.

    Attributes:
        model: Name of the model.
        version: Version of the model.
        digest: Digest of the model's archive.
        options: Digest of everything besides the input that decides about an output; a record of another one does not
            count.
    """

    model: str
    version: str
    digest: str
    options: str

    @classmethod
    def of(cls, loaded: models_pb2.LoadedModel, options: Mapping[str, Any]) -> Self:
        """Describe a model and what is asked of it.

        Args:
            loaded: The model.
            options: Everything besides the input that decides about an output, in terms of JSON.
        """
        deciding = json.dumps({"digest": loaded.digest, **options}, sort_keys=True)
        return cls(
            model=loaded.card.name,
            version=loaded.card.version,
            digest=loaded.digest,
            options=hashlib.sha256(deciding.encode()).hexdigest()[:16],
        )


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """An output that was made.

    Attributes:
        data: Its bytes.
        milliseconds: How long the gateway took.
        input_digest: SHA-256 of the input, hexadecimal; None of an item that has none.
        facts: What else is to be recorded.
    """

    data: bytes
    milliseconds: float
    input_digest: str | None = None
    facts: dict[str, Any] | None = None


# Makes an item. Gets the digest of the input that a finished output was made from, None where there is no such output;
# returns None where the input still has that digest. Raises ItemError, JobError or StoppedError.
Make = Callable[[Item, str | None], Awaitable[OutputFile | None]]


@dataclass
class Tally:
    """What has become of the items of a run so far.

    Attributes:
        done: Made in this run.
        skipped: Finished by an earlier run; or, where only failed ones are taken, not failed.
        failed: Failed, in this run or, as long as nothing has changed, in an earlier one.
        reasons: The failed ones by reason.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def settled(self) -> int:
        """Items whose fate is known."""
        return self.done + self.skipped + self.failed


class _Todo(NamedTuple):
    """An item that is not finished, or not yet known to be.

    Attributes:
        item: The item.
        mended: The record of an output that a dead process staged and that is in place now; None of any other.
        stands: The record of an output that is in place and was made by the same model with the same options.
        owns: Whether what is in the output's place was made by a job.
        is_taken: Whether something is in the output's place that must stay.
    """

    item: Item
    mended: Record | None = None
    stands: Record | None = None
    owns: bool = False
    is_taken: bool = False


class _Looked(NamedTuple):
    """What came of looking at some items.

    Attributes:
        todo: Those that are not finished.
        skipped: Number of those that are.
        failures: Why others failed before, where that stands.
    """

    todo: list[_Todo]
    skipped: int
    failures: list[str]


class Job:
    """One run over the items of one shard; for one event loop."""

    def __init__(
        self,
        items: Iterable[Item],
        make: Make,
        provenance: JobProvenance,
        store: Store,
        manifest: Manifest,
        *,
        width: int,
        overwrite: bool = False,
        only_failed: bool = False,
        max_failures: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            items: The shard's items, no two with the same key; taken, on another thread, only as there is room.
            make: Makes one item.
            provenance: What its records tell of the model and options.
            store: Where outputs go.
            manifest: The shard's.
            width: The most items that are under way at once, with what they hold in memory.
            overwrite: Whether outputs that no manifest accounts for are replaced; else such an item fails.
            only_failed: Whether only items that failed before are taken, and those again.
            max_failures: The number of failed items at which the run ends; None: it does not.
        """
        self._items, self._make, self._provenance = iter(items), make, provenance
        self._store, self._manifest = store, manifest
        self._width, self._overwrite, self._only_failed = width, overwrite, only_failed
        self._max_failures = max_failures
        self._stopped = False
        self._on_stop: list[Callable[[], None]] = []
        self.tally = Tally()

    def stop(self) -> None:
        """Take no more items; those that are with the gateway are finished and recorded."""
        self._stopped = True
        for told in self._on_stop:
            told()

    def on_stop(self, told: Callable[[], None]) -> None:
        """Have somebody told when the run is to stop."""
        self._on_stop.append(told)

    async def run(self) -> Ending:
        """Run to the end.

        Returns:
            How it ended.

        Raises:
            JobError: The job cannot go on.
        """
        room = asyncio.Semaphore(self._width)
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self._stopped and (looked := await in_thread(self._look)) is not None:
                    self._count(looked)
                    for one in looked.todo:
                        await room.acquire()
                        if self._stopped:
                            break
                        tasks.create_task(self._finish(one)).add_done_callback(lambda _: room.release())
        except ExceptionGroup as errors:
            raise self._fault(errors) from errors
        if self._too_many_failures:
            return "too many failures"
        return "stopped" if self._stopped else "finished"

    @property
    def _too_many_failures(self) -> bool:
        return self._max_failures is not None and self.tally.failed >= self._max_failures

    def _fault(self, errors: BaseExceptionGroup[Any]) -> JobError:
        """Return what to tell of the errors that ended the run: the first."""
        error: Any = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, JobError):
            return error
        if not isinstance(error, OSError):
            _log.error("the job failed", exc_info=error)
        return JobError(f"{self._store.url}: {error or type(error).__name__}")

    def _count(self, looked: _Looked) -> None:
        self.tally.skipped += looked.skipped
        for reason in looked.failures:
            self._count_failure(reason)

    def _look(self) -> _Looked | None:
        """Look at the next items; None after the last."""
        todo: list[_Todo] = []
        failures: list[str] = []
        looked_at = 0
        for looked_at, item in enumerate(islice(self._items, _LOOK_AT), start=1):  # noqa: B007 - used after the loop
            match self._look_at(item):
                case _Todo() as found:
                    todo.append(found._replace(is_taken=self._is_taken(found)))
                case str() as reason:
                    failures.append(reason)
            if len(todo) == _HAND_ON:
                break
        return _Looked(todo, looked_at - len(todo) - len(failures), failures) if looked_at else None

    def _look_at(self, item: Item) -> _Todo | str | None:
        """Return an item that is not finished; why it failed, where that stands; None where it is finished."""
        entry = self._manifest.find(item.key)
        if entry is None:
            return None if self._only_failed else _Todo(item)
        record = entry.record
        if record.status == "failed":
            lasts = not self._only_failed and record.reason in LASTING and self._is_same(item, record)
            return record.reason if lasts else _Todo(item, owns=entry.owns)
        if self._only_failed:
            return None
        in_place = self._is_in_place(record)
        mended = record if in_place and record.status == "staged" else None
        current = record if in_place and record.options == self._provenance.options else None
        if current is not None and mended is None and self._is_same(item, record):
            return None
        return _Todo(item, mended, current, owns=entry.owns or in_place)

    def _is_same(self, item: Item, record: Record) -> bool:
        """Say whether a record is of the same input, model and options, as far as can be told without reading."""
        return (
            record.options == self._provenance.options
            and record.input == item.input
            and item.fingerprint is not None
            and record.fingerprint == item.fingerprint
        )

    def _is_in_place(self, record: Record) -> bool:
        """Say whether the output that a record speaks of is there, after a kill too."""
        if record.output is None or record.output_digest is None or record.output_bytes is None:
            return False
        if record.status == "staged":
            return self._store.settle(record.output, record.output_digest)
        # A line `done` follows the commit; what was removed since is made anew.
        return self._store.holds(record.output, record.output_bytes)

    async def _finish(self, todo: _Todo) -> None:
        """Bring one item to its end."""
        item, stands = todo.item, todo.stands
        try:
            if todo.mended is not None:
                await in_thread(self._manifest.append, replace(todo.mended, status="done", time=now()))
                if self._is_same(item, todo.mended):
                    self.tally.skipped += 1
                    return
            self._refuse_unsound(todo)
            made = await self._make(item, stands.input_digest if stands else None)
            if made is None:
                assert stands is not None
                renewed = replace(stands, status="done", input=item.input, fingerprint=item.fingerprint, time=now())
                await in_thread(self._manifest.append, renewed)
                self.tally.skipped += 1
            else:
                await in_thread(self._keep, todo, made)
                self.tally.done += 1
        except ItemError as error:
            await self._record_failure(item, error)
        except StoppedError:
            pass

    def _refuse_unsound(self, todo: _Todo) -> None:
        """Raise ItemError where an item cannot have its output."""
        item = todo.item
        if item.fault is not None or item.output is None:
            raise ItemError("BAD_MEMBER", item.fault or "it can have no output")
        if todo.is_taken:
            raise _exists(item)

    def _is_taken(self, todo: _Todo) -> bool:
        output = todo.item.output
        return output is not None and not self._may_replace(todo) and self._store.is_taken(output)

    def _may_replace(self, todo: _Todo) -> bool:
        return self._overwrite or todo.owns

    def _keep(self, todo: _Todo, made: OutputFile) -> None:
        """Let an output appear and record it; the order is the module's. Blocks: one thread does it all."""
        item = todo.item
        assert item.output is not None
        record = self._record(
            item,
            status="staged",
            input_digest=made.input_digest,
            output_digest=hashlib.sha256(made.data).hexdigest(),
            output_bytes=len(made.data),
            milliseconds=round(made.milliseconds, 3),
            facts=made.facts,
        )
        with _name_faults(item):
            self._store.stage(item.output, made.data)
        self._manifest.append(record)
        with _name_faults(item):
            self._store.commit(item.output, made.data, replace=self._may_replace(todo))
        self._manifest.append(replace(record, status="done", time=now()))

    async def _record_failure(self, item: Item, error: ItemError) -> None:
        record = self._record(
            item, status="failed", reason=error.reason, message=error.message, input_digest=error.input_digest
        )
        await in_thread(self._manifest.append, record)
        self._count_failure(error.reason)

    def _count_failure(self, reason: str) -> None:
        self.tally.failed += 1
        self.tally.reasons[reason] += 1
        if self._too_many_failures:
            self.stop()

    def _record(self, item: Item, **fields: Any) -> Record:
        return Record(
            input=item.input,
            output=item.output,
            fingerprint=item.fingerprint,
            options=self._provenance.options,
            model=self._provenance.model,
            version=self._provenance.version,
            digest=self._provenance.digest,
            time=now(),
            **fields,
        )


@contextmanager
def _name_faults(item: Item) -> Iterator[None]:
    """Raise ItemError for what is wrong with an output's name alone, of all that is wrong where it is written."""
    try:
        yield
    except FileExistsError as error:
        raise _exists(item) from error
    except OSError as error:
        if error.errno in _NAME_ERRORS:
            raise ItemError("UNWRITABLE", f"{item.output}: {error.strerror}") from error
        raise


def _exists(item: Item) -> ItemError:
    return ItemError("EXISTS", f"{item.output} is there and no manifest accounts for it; --overwrite replaces it")
