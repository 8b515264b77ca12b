"""A database in a temporary file: what a job lists and knows may be of any length, and memory stays flat."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from services.batch.faults import StorageError


class Scratch:
    """Tables that go away by themselves, with the process too; for threads that use them one after another."""

    def __init__(self, tables: str) -> None:
        """Begin empty; takes the SQL that makes the tables."""
        # An empty name is a private file.
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.executescript(f"PRAGMA journal_mode = OFF; BEGIN; {tables}")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Carry out a statement of SQL.

        Raises:
            sqlite3.IntegrityError: A key is there already.
            StorageError: The file cannot grow.
        """
        try:
            return self._database.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise StorageError(f"temporary files (TMPDIR): {error}") from error

    def close(self) -> None:
        """Remove the file."""
        self._database.close()
