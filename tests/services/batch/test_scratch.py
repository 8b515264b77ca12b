"""The temporary database of a job."""

import sqlite3

import pytest

from services.batch.faults import StorageError
from services.batch.scratch import Scratch


def test_a_disk_that_is_full_is_the_job_s_fault() -> None:
    scratch = Scratch("CREATE TABLE items (name PRIMARY KEY)")
    scratch.execute("PRAGMA max_page_count = 20")
    with pytest.raises(StorageError, match=r"TMPDIR.*full"):
        scratch.execute("INSERT INTO items VALUES (?)", ("name" * 100_000,))
    scratch.close()


def test_a_key_that_is_there_is_told() -> None:
    scratch = Scratch("CREATE TABLE items (name PRIMARY KEY)")
    scratch.execute("INSERT INTO items VALUES ('a')")
    with pytest.raises(sqlite3.IntegrityError):
        scratch.execute("INSERT INTO items VALUES ('a')")
    scratch.close()
