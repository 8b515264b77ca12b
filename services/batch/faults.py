"""What goes wrong: with one item, which is recorded while the job goes on, or with the job or its storage."""

from collections.abc import Iterator
from contextlib import contextmanager

# Reasons that lie in the input's own bytes: such a failure stands until they, or the job's options, change.
LASTING = {"IMAGE_TOO_LARGE", "INVALID_REQUEST", "TOO_LARGE"}


class ItemError(Exception):
    """One item cannot be made.

    Attributes:
        reason: For programs: a reason of the gateway, or one of docs/batch.md.
        message: For a person.
        input_digest: SHA-256 of what was read; None where nothing was.
    """

    def __init__(self, reason: str, message: str, input_digest: str | None = None) -> None:
        """Keep what is wrong; see the attributes."""
        super().__init__(f"{reason}: {message}")
        self.reason, self.message, self.input_digest = reason, message, input_digest


class JobError(Exception):
    """The job cannot go on; what it has done stands, and it can be started again."""


class StoppedError(Exception):
    """The job was told to stop before the item was begun."""


class StorageError(JobError):
    """A store cannot be used; the message says which and why."""


class LockedError(StorageError):
    """Another process works on the same journal."""


@contextmanager
def storage_faults(url: str, *passed: type[Exception]) -> Iterator[None]:
    """Raise StorageError for whatever the libraries behind fsspec raise: no credentials, no host, no bucket.

    Args:
        url: What is used, for the message.
        *passed: What is passed on as it is, besides JobError and ItemError.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (JobError, ItemError, *passed)):
            raise
        raise StorageError(f"{url}: {_told(error)}") from error


def _told(error: Exception) -> str:
    """Say what is wrong, without the number and the name that the system adds."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Of what is missing, fsspec tells the path alone.
    return f"not found: {error}" if isinstance(error, FileNotFoundError) else str(error)
