"""Word of a job that its newest run leaves in its folder: what it makes, and in how many shards."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from services.batch.faults import JobError
from services.batch.naming import PRIVATE
from services.batch.storage import Store

NAME = "job.json"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a job is, independent of the machine and of the run.

    Attributes:
        command: The command of `gantry batch` that it is a job of.
        request: What is asked for, as that command's request is written.
        shards: Number of shards of the newest run.
        inputs: As the user named them, local ones as absolute paths; None of a command without inputs.
    """

    command: str
    request: dict[str, Any]
    shards: int
    inputs: list[str] | None = None

    def leave(self, store: Store) -> None:
        """Write it into the job's folder."""
        store.write_private(NAME, json.dumps(asdict(self), indent=2).encode() + b"\n")


def description_of(store: Store) -> Description | None:
    """Read what the newest run left; None where no job ran.

    Raises:
        JobError: It cannot be understood.
    """
    data = store.read_private(NAME)
    if data is None:
        return None
    try:
        found = Description(**json.loads(data))
        if not isinstance(found.request, dict) or not isinstance(found.shards, int):
            raise TypeError("a field is of another type")
    except (ValueError, TypeError) as error:
        raise JobError(
            f"{store.url.rstrip('/')}/{PRIVATE}/{NAME}, what the last run left of its job, cannot be understood: "
            "remove that file and start the job again with its whole command"
        ) from error
    return found


def earlier_run(store: Store, command: str) -> Description | None:
    """Read what an earlier run of the same command left; None where no job ran.

    Raises:
        JobError: A job of another command keeps its files there.
    """
    found = description_of(store)
    if found is not None and found.command != command:
        raise JobError(f"{store.url} holds the outputs of another job: name another folder")
    return found
