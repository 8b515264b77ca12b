"""One item of a job: its input, its output, and what shows that the input has changed."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Item:
    """One output that a job is to make.

    Attributes:
        input: What it is made from, as it stands in the manifest.
        output: Name of the output, relative to the job's folder, with slashes; None of an item that can have none.
        fingerprint: What tells a changed input without reading it; None where nothing does.
        fault: Why it cannot be made at all; None of a sound item.
        source: Which of the job's inputs it was found in, counted from 0.
        locator: Where it stands in that.
    """

    input: str
    output: str | None
    fingerprint: str | None = None
    fault: str | None = None
    source: int = 0
    locator: str = ""

    @property
    def key(self) -> str:
        """What its records are found by, as of `Record.key`."""
        return self.output if self.output is not None else f"!{self.input}"
