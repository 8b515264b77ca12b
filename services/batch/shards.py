"""Which part of a job one process does: a stable hash of an item's name, so that no process needs to know another."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`.

    Attributes:
        index: Counted from 0.
        count: Number of parts, at least 1.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse a part that there is not.

        Raises:
            ValueError: It is not one of its parts.
        """
        if not 0 <= self.index < self.count:
            raise ValueError(f"shard {self.index}/{self.count}: must be i/n with 0 <= i < n")

    def __str__(self) -> str:
        """Return the shard as it stands in names of files."""
        return f"{self.index}-of-{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a user writes, i/n counted from 0.

        Raises:
            ValueError: It is not of that form.
        """
        matched = re.fullmatch(r"(\d+)/(\d+)", text)
        if matched is None:
            raise ValueError(f"shard {text!r}: must be i/n with 0 <= i < n, for example 0/4")
        return cls(int(matched[1]), int(matched[2]))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the shard of a Kubernetes Indexed Job's pod: JOB_COMPLETION_INDEX of JOB_COMPLETIONS.

        Kubernetes itself sets only the first; the chart sets the other from the Job's `completions`.

        Returns:
            The shard; the only one where the variables are absent.

        Raises:
            ValueError: One is there without the other, or they are not numbers of a shard.
        """
        index, count = environment.get("JOB_COMPLETION_INDEX"), environment.get("JOB_COMPLETIONS")
        if index is None and count is None:
            return cls()
        if index is None or count is None:
            raise ValueError("JOB_COMPLETION_INDEX and JOB_COMPLETIONS: set both or neither, or give --shard i/n")
        return cls.parse(f"{index}/{count}")

    def owns(self, name: str) -> bool:
        """Say whether an item is in this part: the first 8 bytes of the SHA-256 of its name, modulo `count`.

        Args:
            name: The item's path relative to the input it was found in.
        """
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index
