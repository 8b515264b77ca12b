"""Who calls: a name, and the models that it may use."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

EVERY_MODEL = "*"
_NAME_LENGTH = 128


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        name: For logs: printable, at most 128 characters.
        models: Names of the models that it may use, or EVERY_MODEL.
    """

    name: str
    models: frozenset[str]

    @classmethod
    def of(cls, name: str, models: Iterable[str]) -> Self:
        """Make a caller of a name that others chose, so that it can forge no line of a log.

        Args:
            name: Any text.
            models: Names of models, or EVERY_MODEL.
        """
        printable = "".join(character if character.isprintable() else "�" for character in name)
        return cls(printable[:_NAME_LENGTH], frozenset(models))

    def may_use(self, model: str) -> bool:
        """Whether it may use a model; of EVERY_MODEL, whether it may use all."""
        return EVERY_MODEL in self.models or model in self.models
