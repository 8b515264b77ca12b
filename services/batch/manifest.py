"""What became of each item: one JSON line a step, in one journal a shard, and an index on disk of the newest lines.

An item's lines are `staged` (its output is made and about to appear) and then `done`; or `failed`. The newest line
of an item counts, and only for a job with the same options and model.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Self

from services.batch.naming import JOURNAL
from services.batch.scratch import Scratch
from services.batch.shards import Shard
from services.batch.storage import Journal, Store

Status = Literal["staged", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a manifest.

    Attributes:
        input: What the item is made from: a path, a URL, or archive!member; of a sample its request.
        output: Name of the output, relative to the job's folder, with slashes. None where the item can have none.
        status: See the module.
        options: Digest of everything else that decides about the output: model, archive, options.
        fingerprint: What tells a changed input without reading it; None where nothing does.
        input_digest: SHA-256 of the input, hexadecimal; None where it was not read.
        output_digest: SHA-256 of the output, hexadecimal; None unless staged or done.
        output_bytes: Length of the output.
        reason: Why the item failed, for programs: a reason of the gateway, or one of docs/batch.md.
        message: The same for a person.
        milliseconds: From sending the item to its answer, waiting in the gateway's queue included.
        model: Name of the model.
        version: Version of the model.
        digest: Digest of the model's archive.
        time: When the line was written, UTC, ISO 8601.
        facts: What else a job tells of an item.
    """

    input: str
    output: str | None
    status: Status
    options: str
    fingerprint: str | None = None
    input_digest: str | None = None
    output_digest: str | None = None
    output_bytes: int | None = None
    reason: str | None = None
    message: str | None = None
    milliseconds: float | None = None
    model: str
    version: str
    digest: str
    time: str
    facts: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """What an item is found by: its output, which no two items of a job share."""
        return self.output if self.output is not None else f"!{self.input}"

    def to_line(self) -> bytes:
        """Return the record as a line of JSON without its absent fields."""
        present = {name: value for name, value in vars(self).items() if value is not None}
        return json.dumps(present, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self | None:
        """Read a line.

        Returns:
            The record; None where the line is cut off or is no record.
        """
        try:
            found = json.loads(line)
            return cls(**{"output": None} | {name: found[name] for name in _FIELDS & found.keys()})
        except (ValueError, TypeError, AttributeError):
            return None


_FIELDS = {field.name for field in fields(Record)}


class IndexEntry(NamedTuple):
    """What the manifests know of an item.

    Attributes:
        record: Its newest line.
        owns: Whether its output was ever made by a job: then it may be replaced.
    """

    record: Record
    owns: bool


class Index:
    """The newest record of each item. In a temporary file: it may be of any length, and memory stays flat."""

    def __init__(self) -> None:
        """Begin empty."""
        self._database = Scratch(
            "CREATE TABLE entries (key TEXT PRIMARY KEY, time TEXT, status TEXT, reason TEXT, owns INTEGER, line BLOB)"
            " WITHOUT ROWID"
        )

    def add(self, record: Record) -> None:
        """Take in a record, which counts unless a newer one is known."""
        self._database.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
            " owns = max(owns, excluded.owns), time = excluded.time, status = excluded.status,"
            " reason = excluded.reason, line = excluded.line WHERE excluded.time >= time",
            (record.key, record.time, record.status, record.reason, record.status == "done", record.to_line()),
        )

    def find(self, key: str) -> IndexEntry | None:
        """Return what is known of an item."""
        row = self._database.execute("SELECT line, owns FROM entries WHERE key = ?", (key,)).fetchone()
        record = row and Record.from_line(row[0])
        return IndexEntry(record, bool(row[1])) if record else None

    def records(self, status: Status | None = None) -> Iterator[Record]:
        """Yield the newest record of each item by key, of one status or of all."""
        rows = self._database.execute(
            "SELECT line FROM entries WHERE status = coalesce(?, status) ORDER BY key", (status,)
        )
        for (line,) in rows:
            if record := Record.from_line(line):
                yield record

    def counts(self) -> dict[str, int]:
        """Return the number of items of each status."""
        return dict(self._database.execute("SELECT status, count(*) FROM entries GROUP BY status ORDER BY status"))

    def failures(self) -> dict[str, int]:
        """Return the number of failed items of each reason, the most frequent first."""
        return dict(
            self._database.execute(
                "SELECT coalesce(reason, 'UNKNOWN'), count(*) FROM entries WHERE status = 'failed'"
                " GROUP BY 1 ORDER BY 2 DESC, 1"
            )
        )

    def close(self) -> None:
        """Remove the file."""
        self._database.close()


class Manifest:
    """The journal of one shard, locked, and what all journals of earlier runs tell of its items."""

    def __init__(self, journal: Journal, index: Index) -> None:
        """Bring the two together; `open_manifest` is the usual way."""
        self._journal, self._index = journal, index

    def find(self, key: str) -> IndexEntry | None:
        """Return what runs before this one knew of an item."""
        return self._index.find(key)

    def append(self, record: Record) -> None:
        """Write a record; when this returns, a kill does not lose it."""
        self._journal.append(record.to_line())

    def close(self) -> None:
        """Give the lock back."""
        self._index.close()
        self._journal.close()


def open_manifest(store: Store, shard: Shard) -> Manifest:
    """Lock and load the manifest of a shard.

    Raises:
        LockedError: Another process works on this shard.
    """
    journal = store.open_journal(journal_name(shard))
    try:
        return Manifest(journal, load_shard(store, shard))
    except BaseException:
        journal.close()
        raise


def load_shard(store: Store, shard: Shard) -> Index:
    """Read what the journals tell of a shard's items; those of runs with another number of shards may know them too."""
    index = Index()
    for name in store.journals():
        if name == journal_name(shard) or shard_of(name).count != shard.count:
            load(store, name, index)
    return index


def load(store: Store, name: str, index: Index, seen: Callable[[Record], None] = lambda _: None) -> None:
    """Read a journal into an index; torn lines are passed over.

    Args:
        store: Where it is.
        name: The journal's name.
        index: Takes the records in.
        seen: Is told each record, in order.
    """
    for line in store.read_journal(name):
        if record := Record.from_line(line):
            index.add(record)
            seen(record)


def journal_name(shard: Shard) -> str:
    """Return the name of a shard's journal."""
    return f"manifest-{shard}"


def shard_of(name: str) -> Shard:
    """Return the shard of a journal's name."""
    matched = JOURNAL.fullmatch(name)
    if matched is None:
        raise ValueError(f"{name!r} is no journal's name")
    return Shard(int(matched[1]), int(matched[2]))


def now() -> str:
    """Return the time for a record."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
