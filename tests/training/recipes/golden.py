"""The losses of twenty steps of every recipe; `python -m tests.training.recipes.golden` writes them anew.

To be done where a change is meant to change numbers, and said in its commit; the file beside this one holds them.
"""

import json
from pathlib import Path

from tests.training.tiny import build, narrowed, take_step
from training.recipes import RECIPES, find_recipe

PATH = Path(__file__).with_name("golden.json")
STEPS = 20
SHOWN = (1, 2, 5, 10, 20)
"""Steps whose losses are written down."""


def losses_of(name: str) -> dict[str, list[float]]:
    """Each phase's loss at the steps of `SHOWN`, of narrow nets on a few pictures."""
    model = build(narrowed(find_recipe(name).config()))
    reports = [take_step(model, step) for step in range(STEPS)]
    return {
        f"{phase.name}/loss": [round(reports[step - 1][f"{phase.name}/loss"].item(), 5) for step in SHOWN]
        for phase in model.phases
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps({name: losses_of(name) for name in sorted(RECIPES)}, indent=1) + "\n")
