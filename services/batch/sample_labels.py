"""The table of a data set's labels, a CSV with one line a picture, ordered by path.

Each shard leaves its part among the job's own files when it is finished, and whichever finishes last puts the parts
together: the table is the same, byte for byte, however many shards there were and in whatever order they ran.
"""

import csv
import heapq
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from gantry.v1 import models_pb2
from services.batch.faults import LockedError
from services.batch.manifest import Index, Record, load_shard
from services.batch.sample_plan import DataSet
from services.batch.shards import Shard
from services.batch.storage import Store
from services.gateway.planning.scales import number_text
from services.worker.inputs import codes_of

LABELS = "labels.csv"
_COLUMNS = {"path", "label", "class", "seed", "truncation", "sha256"}
# Ids of codes and names of attributes, in the order of the card.
_Inputs = tuple[Sequence[str], Sequence[str]]


def write_labels(store: Store, data_set: DataSet, shard: Shard, card: models_pb2.ModelCard, options: str) -> bool:
    """Write a finished shard's part, and the whole table where it is the last part.

    Args:
        store: Where the data set is.
        data_set: The data set.
        shard: The shard that is finished.
        card: The model's.
        options: Digest of the job's options, as in its records; parts of other jobs are not taken.

    Returns:
        Whether the table is there now; else other shards have still to finish.
    """
    codes, attributes = [code.id for code in codes_of(card)], [attribute.name for attribute in card.attributes]
    header = ["path", "label", "class", "seed", "truncation", *codes, *map(_column_of, attributes), "sha256"]
    name = f"labels-{options}-{data_set.count}"
    with closing(load_shard(store, shard)) as index:
        store.write_private(f"{name}-{shard}.csv", _part(index, data_set, shard, (codes, attributes), options))
    parts = [store.read_private(f"{name}-{Shard(place, shard.count)}.csv") for place in range(shard.count)]
    whole = [part for part in parts if part is not None]
    if len(whole) < shard.count:
        return False
    try:
        lock = store.open_journal(name)
    except LockedError:  # Another shard is at it, with the same parts.
        return True
    try:
        table = _lines([header]) + _merged(whole)
        store.stage(LABELS, table)
        store.commit(LABELS, table, replace=True)
    finally:
        lock.close()
    return True


def _column_of(attribute: str) -> str:
    """Name the column of an attribute: as the attribute, unless a column of another sense has that name."""
    return f"attribute-{attribute}" if attribute in _COLUMNS else attribute


def _part(index: Index, data_set: DataSet, shard: Shard, inputs: _Inputs, options: str) -> bytes:
    """Return the lines of a shard's pictures, without those that could not be made, ordered by path."""
    outputs = sorted(data_set.file_of(run.category, number) for run in data_set.runs(shard) for number in run.numbers)
    records = (entry.record for output in outputs if (entry := index.find(output)) is not None)
    return _lines(_row(record, inputs) for record in records if record.status == "done" and record.options == options)


def _row(record: Record, inputs: _Inputs) -> list[str]:
    facts, (codes, attributes) = record.facts or {}, inputs
    values = [_text(facts["codes"][code]) for code in codes]
    values += [_text(facts["attributes"][name]) for name in attributes]
    truncation = _text(facts["truncation"])
    seen = [str(facts[key]) for key in ("label", "class", "seed")]
    return [record.output or "", *seen, truncation, *values, record.output_digest or ""]


def _text(value: int | float) -> str:
    return number_text(value) if isinstance(value, float) else str(value)


def _merged(parts: Sequence[bytes]) -> bytes:
    """Merge parts, each ordered by path, into one."""
    rows: Iterable[list[str]] = heapq.merge(*map(_rows, parts), key=lambda row: row[0])
    return _lines(rows)


def _rows(part: bytes) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(part.decode(), newline=""))


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
