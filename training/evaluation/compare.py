"""Puts runs side by side on one HTML page: curves, sample grids, figures, and the settings in which they differ.

The page is one file and loads nothing: curves are inline SVG, pictures are embedded.
"""

import base64
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.config import ConfigError

_COLOURS = ("#2166ac", "#b2182b", "#1b7837", "#e08214", "#762a83", "#8c510a", "#01665e", "#c51b7d")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420, 180, 62, 20
_POINTS = 400  # of a curve that are drawn at most
_AXES = ("images", "step", "time", "seconds", "kind")  # entries of stats.jsonl that are no curves
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1500px; padding: 0 1.5em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ddd }
figure { display: inline-block; margin: 0 1.2em 1.2em 0; vertical-align: top } figcaption { margin-bottom: .3em }
table { border-collapse: collapse } th, td { padding: .15em .9em; text-align: right; border-bottom: 1px solid #eee }
th:first-child { text-align: left; font-weight: normal } thead th { font-weight: 600 }
img { max-width: 100%; image-rendering: pixelated } .key { font-weight: 600 } .none { color: #888 }
svg text { font-size: 11px; fill: #555 }
"""


@dataclass(frozen=True)
class ComparedRun:
    """What a run's folder says.

    Attributes:
        name: The folder's, as it was given.
        settings: All settings by dotted name.
        curves: (images seen, value) by the name of a statistic.
        grid: The last sample grid as PNG, if there is one.
        figures: (value, reference) of an evaluation's metrics by name.
    """

    name: str
    settings: Mapping[str, Any]
    curves: Mapping[str, Sequence[tuple[float, float]]]
    grid: bytes | None
    figures: Mapping[str, tuple[float, float | None]]


def write_comparison(runs: Sequence[Path], out: Path) -> None:
    """Writes the page.

    Args:
        runs: Folders of training runs; they need neither statistics nor an evaluation.
        out: The HTML file to write.

    Raises:
        ConfigError: If there is no run, or a folder is none, or a file of it is unreadable.
    """
    if not runs:
        raise ConfigError("give at least one folder of a training run")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_page([read_run(path) for path in runs]), encoding="utf-8")


def read_run(path: Path) -> ComparedRun:
    """Reads a run's folder; errors as of `write_comparison`."""
    config = path / "config.json"
    if not config.is_file():
        raise ConfigError(f"{path}: no training run here, {config.name} is missing")
    evaluation = path / "evaluation.json"
    metrics = _json(evaluation.read_text("utf-8"), evaluation)["metrics"] if evaluation.is_file() else []
    grids = sorted((path / "grids").glob("*.png"))
    return ComparedRun(
        name=str(path),
        settings=dict(_flat(_json(config.read_text("utf-8"), config))),
        curves=_curves(path / "stats.jsonl"),
        grid=grids[-1].read_bytes() if grids else None,
        figures={metric["name"]: (metric["value"], metric.get("reference")) for metric in metrics},
    )


def _json(text: str, source: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{source}: not readable as JSON: {error}") from error


def _curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Every number in the statistics over the images seen; a line that a killed run left half-written ends them."""
    curves: dict[str, list[tuple[float, float]]] = {}
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines):
        if number == len(lines) - 1 and not line.rstrip().endswith("}"):
            break
        entry = dict(_flat(_json(line, path), separator="/"))
        at = entry.get("images", entry.get("step", number))
        for name, value in entry.items():
            if name not in _AXES and isinstance(value, int | float) and math.isfinite(value):
                curves.setdefault(name, []).append((at, value))
    return curves


def _flat(values: Mapping[str, Any], prefix: str = "", separator: str = ".") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}{separator}", separator)
        else:
            yield f"{prefix}{name}", value


def _page(runs: Sequence[ComparedRun]) -> str:
    keys = " · ".join(
        f'<span class="key" style="color:{_colour(number)}">{html.escape(run.name)}</span>'
        for number, run in enumerate(runs)
    )
    sections = {
        "Curves": _all_curves(runs),
        "Last sample grids": "".join(_grid(run, number) for number, run in enumerate(runs)),
        "Figures": _figures(runs),
        "Settings that differ": _settings(runs),
    }
    body = "".join(f"<section><h2>{heading}</h2>{content}</section>" for heading, content in sections.items())
    title = f"{len(runs)} training run{'s' if len(runs) > 1 else ''}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{title}</h1><p>{keys}</p>{body}</body></html>\n"
    )


def _all_curves(runs: Sequence[ComparedRun]) -> str:
    names = sorted({name for run in runs for name in run.curves}, key=lambda name: ("loss" not in name, name))
    drawn = [_curve(name, [run.curves.get(name, ()) for run in runs]) for name in names]
    return "".join(drawn) or '<p class="none">no statistics yet</p>'


def _curve(name: str, curves: Sequence[Sequence[tuple[float, float]]]) -> str:
    points = [point for curve in curves for point in curve]
    (low_x, high_x), (low, high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    span_x, span = (high_x - low_x) or 1, (high - low) or 1

    def placed(x: float, y: float) -> str:
        across = _LEFT + (x - low_x) / span_x * (_WIDTH - _LEFT - 10)
        return f"{across:.1f},{8 + (high - y) / span * (_HEIGHT - _BOTTOM - 14):.1f}"

    # A single point is a line of no length, which a round end makes visible.
    lines = "".join(
        f'<polyline fill="none" stroke="{_colour(number)}" stroke-width="1.5" stroke-linecap="round" '
        f'points="{" ".join(placed(x, y) for x, y in [curve[0], *_thinned(curve)])}"/>'
        for number, curve in enumerate(curves)
        if curve
    )
    axis = _HEIGHT - _BOTTOM
    return (
        f'<figure><figcaption>{html.escape(name)}</figcaption><svg width="{_WIDTH}" height="{_HEIGHT}">'
        f'<path d="M{_LEFT} 4V{axis}H{_WIDTH - 6}" fill="none" stroke="#999"/>{lines}'
        f'<text x="{_LEFT - 6}" y="12" text-anchor="end">{high:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{axis}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 5}">{low_x:,.0f}</text>'
        f'<text x="{_WIDTH - 6}" y="{_HEIGHT - 5}" text-anchor="end">{high_x:,.0f} images</text></svg></figure>'
    )


def _thinned(curve: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most about `_POINTS` of a curve's points, the last among them."""
    return curve[:: -math.ceil(len(curve) / _POINTS)][::-1]


def _grid(run: ComparedRun, number: int) -> str:
    caption = f'<figcaption class="key" style="color:{_colour(number)}">{html.escape(run.name)}</figcaption>'
    if run.grid is None:
        return f'<figure>{caption}<p class="none">no grid yet</p></figure>'
    data = base64.b64encode(run.grid).decode()
    return f'<figure>{caption}<img alt="samples" src="data:image/png;base64,{data}"></figure>'


def _figures(runs: Sequence[ComparedRun]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    if not names:
        return '<p class="none">no run was evaluated</p>'
    references = {name: run.figures[name][1] for run in runs for name in names if name in run.figures}
    rows = [
        (
            name.replace("_", " "),
            *(_number(run.figures.get(name, (None,))[0]) for run in runs),
            _number(references[name]),
        )
        for name in names
    ]
    return _table(["", *(run.name for run in runs), "real images"], rows)


def _settings(runs: Sequence[ComparedRun]) -> str:
    names = dict.fromkeys(name for run in runs for name in run.settings)
    differing = [name for name in names if len({json.dumps(run.settings.get(name)) for run in runs}) > 1]
    if not differing:
        return '<p class="none">none</p>'
    rows = [
        (name, *(json.dumps(run.settings[name]) if name in run.settings else "" for run in runs)) for name in differing
    ]
    return _table(["", *(run.name for run in runs)], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    body = "".join(
        f"<tr><th>{html.escape(row[0])}</th>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
