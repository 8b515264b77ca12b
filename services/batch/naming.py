"""Names of a job's items: what counts as a picture, which names are safe, what an output is called."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from services.client.files import INPUT_SUFFIXES, with_ending
from services.client.pictures import Format

# The folder in which a job keeps its own files.
PRIVATE = ".gantry"
# Name of the journal of a shard, index and count.
JOURNAL = re.compile(r"manifest-(\d+)-of-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A picture that an input holds.

    Attributes:
        input: What the manifest calls it: absolute path, URL, or archive!member.
        name: Its path relative to the input, with slashes: what its output is named after.
        fingerprint: What tells a changed picture without reading it; None where nothing does.
        fault: Why it cannot be translated at all; None of a sound one.
        output: Name of its output where the user gave one.
        locator: Where its input finds it.
    """

    input: str
    name: str
    fingerprint: str | None = None
    fault: str | None = None
    output: str | None = None
    locator: str = ""


def is_picture(name: str) -> bool:
    """Say whether a name ends like that of a picture that a gateway takes."""
    return name.lower().endswith(INPUT_SUFFIXES)


def unsafe(name: str) -> str | None:
    """Say why a relative name must not be written below a folder; None where it may."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        return f"the name {name!r} leads out of the output's folder, or could"
    below = [part for part in parts if part not in ("", ".")]
    if not below:
        return "the name is empty"
    if below[0] == PRIVATE:
        return f"the name begins with {PRIVATE}, where the job keeps its own files"
    if not is_text(name):
        return "the name is not UTF-8"
    return None


def is_text(name: str) -> bool:
    """Say whether a name is all Unicode; the names of files need not be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: str) -> str:
    """Return a name with all that is not Unicode written out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def output_of(found: Found, image_format: Format) -> str:
    """Return the name of a picture's output: the one that the user gave, else its own, with the format's ending."""
    # As a path: two spellings of one file are one output.
    return str(PurePosixPath(found.output) if found.output else with_ending(PurePosixPath(found.name), image_format))
