"""What `gantry train --list` prints: every recipe, and every part that a recipe may be made of, with its paper.

A part says what it is in the first line of its docstring, and where it is from in that or in its module's.
"""

import re
import sys
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from training.augmentations import AUGMENTATIONS
from training.conditions import AnyCondition
from training.nets import AnyDiscriminator, AnyGenerator
from training.objectives import OBJECTIVES
from training.recipes import RECIPES
from training.terms import TERMS

_PAPER = re.compile(r"arXiv:\d{4}\.\d{4,5}")


class Row(NamedTuple):
    """One thing that can be chosen.

    Attributes:
        group: What kind of thing it is.
        choice: How it is chosen, as an argument or a flag of `gantry train`.
        line: What it is.
        paper: Where it is from; empty where it is nobody's in particular.
    """

    group: str
    choice: str
    line: str
    paper: str


def rows() -> Iterator[Row]:
    """All that can be chosen, group by group."""
    for name, recipe in RECIPES.items():
        known = ", ".join(dict.fromkeys([recipe.defaults.data, *recipe.on]))
        yield Row("recipes", name, f"{recipe.line}; data: {known}", recipe.paper)
    for name, objective in OBJECTIVES.items():
        yield Row("objectives", f"--set objective={name}", objective.line, objective.paper)
    for name, term in TERMS.items():
        yield Row("terms", f"--set terms.{name}.weight={_weight(term)}", *_said(term))
    for name, augmentation in AUGMENTATIONS.items():
        yield Row("augmentations", f"--set augmentations.{name}.{_first_setting(augmentation)}", *_said(augmentation))
    for group, union in {
        "condition": AnyCondition,
        "generator": AnyGenerator,
        "discriminator": AnyDiscriminator,
    }.items():
        for kind in _kinds(union):
            yield Row(f"{group}s", f"--set {group}.kind={kind.model_fields['kind'].default}", *_said(kind))


def _said(part: type) -> tuple[str, str]:
    texts = [part.__doc__ or "", sys.modules[part.__module__].__doc__ or ""]
    paper = next((found.group() for text in texts if (found := _PAPER.search(text))), "")
    return texts[0].splitlines()[0].rstrip("."), paper


def _weight(term: Any) -> str:
    default = term.model_fields["weight"].default
    return f"{default:g}" if isinstance(default, int | float) else "1"


def _first_setting(part: Any) -> str:
    name, field = next(iter(part.model_fields.items()))
    return f"{name}={field.default}"


def _kinds(union: Any) -> tuple[Any, ...]:
    return typing.get_args(typing.get_args(union)[0])
