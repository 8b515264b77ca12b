"""Records and the index of the newest of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.batch.faults import StorageError
from services.batch.local_store import LocalStore
from services.batch.manifest import Index, Record, load, open_manifest, shard_of
from services.batch.shards import Shard

RECORD = Record(
    input="/in/a.jpg",
    output="a.png",
    status="done",
    options="o",
    fingerprint="12:34",
    input_digest="1" * 64,
    output_digest="2" * 64,
    output_bytes=5,
    milliseconds=1.5,
    model="m",
    version="1.0.0",
    digest="3" * 64,
    time="2026-01-01T00:00:00.000000+00:00",
    facts={"label": 3},
)


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_a_record_comes_back_from_its_line(given_input: str, output: str | None, message: str | None) -> None:
    record = replace(RECORD, input=given_input, output=output, message=message)
    line = record.to_line()
    assert line.count(b"\n") == 1
    assert Record.from_line(line) == record


@pytest.mark.parametrize("cut", range(0, len(RECORD.to_line()) - 2, 7))
def test_a_torn_line_is_no_record(cut: int) -> None:
    assert Record.from_line(RECORD.to_line()[:cut]) is None


@pytest.mark.parametrize("line", [b"", b"[]", b"3", b"null", b'{"input": "a"}', b"\xff"])
def test_what_is_none_of_ours_is_no_record(line: bytes) -> None:
    assert Record.from_line(line) is None


def test_a_line_of_a_later_version_is_read() -> None:
    assert Record.from_line(RECORD.to_line().replace(b'{"input"', b'{"later":1,"input"')) == RECORD


def test_the_newest_line_counts_whatever_order_they_come_in() -> None:
    index = Index()
    newer = replace(RECORD, status="failed", reason="X", time="2026-01-02T00:00:00.000000+00:00")
    index.add(newer)
    index.add(RECORD)
    entry = index.find("a.png")
    assert entry is not None
    assert entry.record == newer
    assert (index.counts(), index.failures()) == ({"failed": 1}, {"X": 1})


def test_of_two_lines_of_one_moment_the_later_counts() -> None:
    index = Index()
    index.add(replace(RECORD, status="staged"))
    index.add(RECORD)
    assert index.counts() == {"done": 1}


def test_an_output_is_owned_once_it_was_finished() -> None:
    index = Index()
    index.add(replace(RECORD, status="staged"))
    assert not index.find("a.png").owns  # type: ignore[union-attr]
    index.add(RECORD)
    index.add(replace(RECORD, status="failed", time="2027-01-01T00:00:00.000000+00:00"))
    assert index.find("a.png").owns  # type: ignore[union-attr]


def test_an_item_without_an_output_is_found_by_its_input() -> None:
    index = Index()
    index.add(replace(RECORD, output=None, input="x.tar!../a.jpg", status="failed"))
    assert index.find("!x.tar!../a.jpg") is not None


def test_a_manifest_knows_what_runs_with_another_number_of_shards_did(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    manifest = open_manifest(store, Shard(1, 3))
    manifest.append(RECORD)
    manifest.close()
    for shard, known in ((Shard(0, 1), True), (Shard(1, 3), True), (Shard(0, 3), False)):
        manifest = open_manifest(store, shard)
        assert (manifest.find("a.png") is not None) == known
        manifest.close()


def test_a_manifest_that_cannot_be_read_gives_its_lock_back(tmp_path: Path) -> None:
    class Unreadable(LocalStore):
        def read_journal(self, name: str) -> Iterator[bytes]:
            raise StorageError("no network")

    with pytest.raises(StorageError, match="no network"):
        open_manifest(Unreadable(tmp_path), Shard())
    open_manifest(LocalStore(tmp_path), Shard()).close()


def test_damaged_lines_do_not_hide_the_others(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    lines = [b"garbage\n", RECORD.to_line()[:50], b"\n", replace(RECORD, output="b.png").to_line(), b"\xff\xfe\n"]
    (tmp_path / ".gantry").mkdir()
    (tmp_path / ".gantry/manifest-0-of-1.jsonl").write_bytes(b"".join(lines))
    index, seen = Index(), []
    load(store, "manifest-0-of-1", index, lambda record: seen.append(record.output))
    assert seen == ["b.png"]


def test_a_journal_s_name_tells_its_shard() -> None:
    assert shard_of("manifest-3-of-7") == Shard(3, 7)
    with pytest.raises(ValueError, match="no journal"):
        shard_of("labels-0-of-1")
