"""A case of `make faults`: what is done, and what was found."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from benchmarks.faults.scene import Scene


@dataclass(frozen=True)
class Finding:
    """One line of the page.

    Attributes:
        what: What was counted or measured, in words; lines of different targets with the same words stand side by side.
        seen: What it was.
        wanted: What it should be; empty for a figure that only stands beside others.
        met: Whether it is.
        timed: Whether a machine that is busy with something else can spoil it.
    """

    what: str
    seen: str
    wanted: str = ""
    met: bool = True
    timed: bool = False


Provocation = Callable[[Scene], Coroutine[Any, Any, list[Finding]]]


@dataclass(frozen=True)
class Case:
    """Something that is provoked.

    Attributes:
        name: A word for the command line.
        title: Its heading.
        done: What is done, in a sentence or two.
        gateway: Does it to the gateway.
        direct: Does it to TorchServe called directly; None where that has no such thing.
    """

    name: str
    title: str
    done: str
    gateway: Provocation
    direct: Provocation | None = None


def at_least(what: str, value: float, least: float, unit: str = "", *, timed: bool = False) -> Finding:
    """A figure that has a lower bound; `unit` may be a format such as "{:.0%}"."""
    return _bounded(what, value, f"≥ {_shown(least, unit)}", value >= least, unit, timed)


def at_most(what: str, value: float, most: float, unit: str = "", *, timed: bool = False) -> Finding:
    """A figure that has an upper bound."""
    return _bounded(what, value, f"≤ {_shown(most, unit)}" if most else "0", value <= most, unit, timed)


def beside(what: str, value: float, unit: str = "") -> Finding:
    """A figure of which nothing is wanted."""
    return Finding(what, _shown(value, unit))


def _bounded(what: str, value: float, wanted: str, met: bool, unit: str, timed: bool) -> Finding:
    return Finding(what, _shown(value, unit), wanted, met, timed)


def _shown(value: float, unit: str) -> str:
    return unit.format(value) if "{" in unit else f"{value:,.0f} {unit}".rstrip()
