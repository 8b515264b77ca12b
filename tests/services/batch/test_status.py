"""What the manifests of a job tell."""

import json
from dataclasses import replace
from pathlib import Path

from services.batch.description import Description
from services.batch.local_store import LocalStore
from services.batch.status import status_of_job
from tests.services.batch.test_manifest import RECORD


def write(root: Path, shard: str, *lines: tuple[str, str, int, str | None]) -> None:
    """Write a manifest of (output, status, second, reason)."""
    records = [
        replace(
            RECORD,
            output=output,
            status=status,  # type: ignore[arg-type]
            time=f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.000000+00:00",
            reason=reason,
            message=reason and f"{output} is bad",
        )
        for output, status, second, reason in lines
    ]
    path = root / ".gantry" / f"manifest-{shard}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(record.to_line() for record in records) + b'{"torn')


def test_no_job_has_no_status(tmp_path: Path) -> None:
    assert status_of_job(LocalStore(tmp_path)) is None


def test_all_shards_are_counted(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    Description(command="translate", request={}, shards=4).leave(store)
    write(
        tmp_path,
        "0-of-4",
        ("a", "staged", 0, None),
        ("a", "done", 1, None),
        ("b", "failed", 2, "INVALID_REQUEST"),
        ("c", "done", 5, None),
        # It did not run for ten minutes.
        ("d", "done", 605, None),
        ("e", "staged", 606, None),
    )
    write(tmp_path, "2-of-4", ("f", "failed", 0, "EXISTS"), ("g", "failed", 1, "EXISTS"), ("h", "done", 2, None))
    status = status_of_job(store)
    assert status is not None
    assert (status.done, status.under_way, status.failed) == (4, 1, 3)
    assert status.reasons == {"EXISTS": 2, "INVALID_REQUEST": 1}
    assert (status.shards, status.missing) == (4, [1, 3])
    assert status.images_per_second == 2 / 6 + 1 / 2
    assert json.loads(status.to_json())["failures"][0] == {
        "input": "/in/a.jpg",
        "reason": "INVALID_REQUEST",
        "message": "b is bad",
    }
    text = status.to_text()
    assert "4 done, 1 under way, 3 failed, 0.8 images/s" in text
    assert "4 shards; not begun: 1, 3" in text
    assert "2 × EXISTS" in text


def test_lines_that_threads_wrote_side_by_side_count_too(tmp_path: Path) -> None:
    write(tmp_path, "0-of-1", ("a", "staged", 0, None), ("b", "done", 6, None), ("a", "done", 5, None))
    status = status_of_job(LocalStore(tmp_path))
    assert status is not None
    assert status.images_per_second == 2 / 5


def test_only_some_failures_are_shown(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write(tmp_path, "0-of-1", *((f"{n:03d}", "failed", 0, "X") for n in range(100)))
    status = status_of_job(store)
    assert status is not None
    assert len(status.failures) == 20
    assert "and 80 more" in status.to_text()
