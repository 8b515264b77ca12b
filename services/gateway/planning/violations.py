"""Collects all that is wrong with a request, so that one refusal names every field at fault.

Each reader of a part of a request returns what it parsed, or something harmless where that is wrong, and adds why.
"""

from dataclasses import dataclass, field, replace

from services.gateway.errors import InvalidRequestError, Violation


@dataclass(frozen=True)
class Violations:
    """What is wrong so far, by field.

    Attributes:
        envelope: Set before every field, for example "sample." of a request that another carries.
        path: Where the part that is read lies in the request, for example "sweep.x."; set before what is added here.
        found: In the order in which they were added.
    """

    envelope: str = ""
    path: str = ""
    found: list[Violation] = field(default_factory=list)

    def add(self, name: str, description: str) -> None:
        """Add what is wrong with a field of this part."""
        self.found.append(Violation(f"{self.envelope}{self.path}{name}", description))

    def under(self, name: str) -> "Violations":
        """Return a view for a field with fields of its own; what is added to it is added here."""
        return replace(self, path=f"{self.path}{name}.")

    def raise_if_any(self) -> None:
        """Refuse the request if anything is wrong with it.

        Raises:
            InvalidRequestError: With one violation per field at fault.
        """
        if self.found:
            raise InvalidRequestError(*self.found)
