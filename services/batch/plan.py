"""Everything a run has to do, settled before anything is made: each item and its output, and that no two collide.

In a temporary file, since a job may have any number of items. The whole job is looked at, of which the run keeps what
is in its shard.
"""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence

from services.batch.faults import JobError
from services.batch.inputs import Input
from services.batch.items import Item
from services.batch.naming import output_of
from services.batch.scratch import Scratch
from services.batch.shards import Shard
from services.batch.storage import is_url
from services.client.files import INPUT_SUFFIXES
from services.client.pictures import Format

_TELL_EVERY = 100_000

_log = logging.getLogger(__name__)


class Plan:
    """The items of one shard, in the order in which they were found."""

    def __init__(self) -> None:
        """Begin empty."""
        self._database = Scratch(
            "CREATE TABLE items (input, output, fingerprint, fault, source, locator);"
            # Digests of where outputs are to be, and of where inputs are.
            "CREATE TABLE outputs (place BLOB PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE inputs (place BLOB PRIMARY KEY, shown TEXT) WITHOUT ROWID;"
        )

    def __len__(self) -> int:
        """Return the number of items."""
        return int(self._database.execute("SELECT count(*) FROM items").fetchone()[0])

    def __iter__(self) -> Iterator[Item]:
        """Yield the items."""
        for input_, output, fingerprint, fault, source, locator in self._database.execute(
            "SELECT input, output, fingerprint, fault, source, locator FROM items ORDER BY rowid"
        ):
            yield Item(
                input=input_, output=output, fingerprint=fingerprint, fault=fault, source=source, locator=locator
            )

    def add(self, item: Item) -> None:
        """Add an item of the shard."""
        row = item.input, item.output, item.fingerprint, item.fault, item.source, item.locator
        self._database.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?)", row)

    def claim(self, output: str, place: str, found: str) -> None:
        """Note where an output is to be, and where its input is.

        Raises:
            JobError: Another item has that output.
        """
        try:
            self._database.execute("INSERT INTO outputs VALUES (?)", (_digest(place),))
        except sqlite3.IntegrityError:
            message = f"two pictures would become {output}, one of them {found}: name another folder, or give outputs"
            raise JobError(message) from None
        self._database.execute("INSERT OR IGNORE INTO inputs VALUES (?, ?)", (_digest(found), found))

    def check(self) -> None:
        """Raise JobError where an output would replace an input."""
        row = self._database.execute("SELECT shown FROM inputs WHERE place IN (SELECT place FROM outputs)").fetchone()
        if row is not None:
            raise JobError(f"{row[0]} would be replaced by an output: name another folder")

    def close(self) -> None:
        """Remove the file."""
        self._database.close()


def make_plan(
    inputs: Sequence[Input],
    out: str,
    shard: Shard,
    image_format: Format,
) -> Plan:
    """List all inputs.

    Args:
        inputs: The inputs.
        out: Path or URL of the folder that outputs go to.
        shard: The items to keep.
        image_format: What outputs are encoded as.

    Raises:
        JobError: There is no picture, an input cannot be listed, or two pictures are in each other's way.
    """
    root = out if is_url(out) else os.path.realpath(out)
    plan, number = Plan(), 0
    for source, given in enumerate(inputs):
        if given.folder is not None and _is_within(root, given.folder):
            raise JobError(f"--out {out} is in the input {given.folder}: outputs would become inputs")
        for found in given.pictures():
            number += 1
            if number % _TELL_EVERY == 0:
                _log.info("%d pictures listed so far", number)
            output = None if found.fault else output_of(found, image_format)
            if output is not None:
                plan.claim(output, f"{root}/{output}", found.input)
            if shard.owns(found.name):
                plan.add(
                    Item(
                        input=found.input,
                        output=output,
                        fingerprint=found.fingerprint,
                        fault=found.fault,
                        source=source,
                        locator=found.locator,
                    )
                )
    if not number:
        raise JobError(f"no pictures ({', '.join(INPUT_SUFFIXES)}) in the inputs")
    plan.check()
    return plan


def _is_within(path: str, folder: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
