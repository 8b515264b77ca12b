"""What a run leaves of its job for the next one."""

from pathlib import Path

import pytest

from services.batch.description import Description, description_of, earlier_run
from services.batch.faults import JobError
from services.batch.local_store import LocalStore

JOB = Description(command="translate", request={"model": "m"}, shards=3, inputs=["/in"])


def test_what_is_left_is_read(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert description_of(store) is None
    JOB.leave(store)
    assert description_of(store) == JOB
    assert earlier_run(store, "translate") == JOB


def test_a_job_of_another_command_is_in_the_way(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert earlier_run(store, "sample") is None
    JOB.leave(store)
    with pytest.raises(JobError, match="the outputs of another job"):
        earlier_run(store, "sample")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"command": "translate", "colour": 1}',
        b'{"command": "translate", "request": "m", "shards": 1}',
    ],
)
def test_what_cannot_be_understood_is_told(tmp_path: Path, data: bytes) -> None:
    store = LocalStore(tmp_path)
    store.write_private("job.json", data)
    with pytest.raises(
        JobError, match=r"/\.gantry/job\.json, what .* cannot be understood: remove that file"
    ) as caught:
        description_of(store)
    assert str(caught.value).startswith(str(tmp_path))
