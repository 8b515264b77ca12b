"""Puts runs side by side on one HTML page: curves, sample grids, figures, and the settings in which they differ.

The page is one file and loads nothing: curves are inline SVG, pictures are embedded.
"""

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from pydantic import ValidationError

from training.config import ConfigError
from training.engine.runs import RunDir
from training.evaluation.evaluate import EVALUATION_FILE
from training.evaluation.result import Evaluation, figure

_COLOURS = ("#2166ac", "#b2182b", "#1b7837", "#e08214", "#762a83", "#8c510a", "#01665e", "#c51b7d")
_WIDTH, _HEIGHT = 350, 150  # of a curve's plot
_AXES = ("images", "step", "time")  # entries of a line of statistics that are no curves

Curve = list[tuple[float, float]]  # (images seen, value) at each tick


def write_comparison(runs: Sequence[Path], out: Path) -> None:
    """Writes the page.

    Args:
        runs: Folders of training runs; they need neither statistics nor an evaluation.
        out: The HTML file to write.

    Raises:
        ConfigError: If a folder holds no run, or one of another version of the code.
    """
    shown = [_shown(RunDir(path), _COLOURS[number % len(_COLOURS)]) for number, path in enumerate(runs)]
    curves = sorted({name for run in shown for name in run["curves"]}, key=lambda name: ("loss" not in name, name))
    names = dict.fromkeys(name for run in shown for name in run["settings"])
    settings = {name: [run["settings"].get(name, "") for run in shown] for name in names}
    environment = Environment(loader=PackageLoader(__package__, ""), autoescape=True, trim_blocks=True)
    page = environment.get_template("comparison.html").render(
        runs=shown,
        charts={name: _chart([(run["colour"], run["curves"].get(name, [])) for run in shown]) for name in curves},
        metrics=list(dict.fromkeys(name for run in shown for name in run["metrics"])),
        differing={name: values for name, values in settings.items() if len(set(values)) > 1},
        figure=figure,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")


def _shown(run: RunDir, colour: str) -> dict[str, Any]:
    evaluation, grids = run.path / EVALUATION_FILE, sorted(run.grids.glob("*.png"))
    try:
        found = Evaluation.read(evaluation) if evaluation.exists() else Evaluation(metrics=(), protocol={})
    except ValidationError as error:
        raise ConfigError(f"{evaluation}: not of this version; run `gantry evaluate {run.path}` again") from error
    return {
        "name": str(run.path),
        "colour": colour,
        "settings": {name: json.dumps(value) for name, value in run.read_config().flat().items()},
        "curves": _curves(run.statistics),
        "grid": base64.b64encode(grids[-1].read_bytes()).decode() if grids else None,
        "metrics": {each.name: each for each in found.metrics},
        "measured": tuple(found.protocol.get(name) for name in ("data", "features")) if found.metrics else None,
    }


def _curves(statistics: Path) -> dict[str, Curve]:
    """Every finite number in the statistics; a line that a killed run left half-written is left out."""
    curves: dict[str, Curve] = {}
    lines = statistics.read_text().splitlines(keepends=True) if statistics.exists() else []
    for entry in (json.loads(line) for line in lines if line.endswith("\n")):
        for name in entry.keys() - _AXES:
            if math.isfinite(entry[name]):
                curves.setdefault(name, []).append((entry["images"], entry[name]))
    return curves


def _chart(curves: Sequence[tuple[str, Curve]]) -> dict[str, Any]:
    """The points of each curve in the plot, as SVG wants them, and what its axes range over."""
    xs, ys = zip(*(point for _, curve in curves for point in curve), strict=True)
    low_x, high_x, low, high = min(xs), max(xs), min(ys), max(ys)

    def placed(x: float, y: float) -> str:
        return f"{(x - low_x) / ((high_x - low_x) or 1) * _WIDTH:.1f},{(high - y) / ((high - low) or 1) * _HEIGHT:.1f}"

    # A single point is a line of no length, which a round end makes visible.
    lines = [(colour, " ".join(placed(*point) for point in curve[:1] + curve)) for colour, curve in curves]
    return {"lines": lines, "x": (f"{low_x:,.0f}", f"{high_x:,.0f}"), "y": (f"{low:.4g}", f"{high:.4g}")}
