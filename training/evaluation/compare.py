"""Puts runs side by side on one HTML page: curves, sample grids, figures, and the settings in which they differ.

The page is one file and loads nothing: curves are inline SVG, pictures are embedded.
"""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from training.config import ConfigError
from training.evaluation.result import figure

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


class _Run(NamedTuple):
    """What a run's folder says, and the colour of its curves."""

    name: str  # the folder's, as it was given
    colour: str
    settings: Mapping[str, Any]  # by dotted name
    curves: Mapping[str, Sequence[tuple[float, float]]]  # (images seen, value) by the name of a statistic
    grid: bytes | None  # the last sample grid as PNG, if there is one
    figures: Mapping[str, tuple[float, float | None]]  # (value, reference) of an evaluation's metrics by name


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
    page = _page([_read(path, _COLOURS[number % len(_COLOURS)]) for number, path in enumerate(runs)])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")


def _read(path: Path, colour: str) -> _Run:
    config, evaluation = path / "config.json", path / "evaluation.json"
    if not config.is_file():
        raise ConfigError(f"{path}: no training run here, {config.name} is missing")
    metrics = _json(evaluation.read_text("utf-8"), evaluation)["metrics"] if evaluation.is_file() else []
    grids = sorted((path / "grids").glob("*.png"))
    return _Run(
        name=str(path),
        colour=colour,
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
    if lines and not lines[-1].rstrip().endswith("}"):
        lines.pop()
    for number, line in enumerate(lines):
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


def _page(runs: Sequence[_Run]) -> str:
    keys = " · ".join(f'<span class="key" style="color:{run.colour}">{escape(run.name)}</span>' for run in runs)
    names = sorted({name for run in runs for name in run.curves}, key=lambda name: ("loss" not in name, name))
    sections = {
        "Curves": "".join(_curve(name, runs) for name in names) or _none("no statistics yet"),
        "Last sample grids": "".join(map(_grid, runs)),
        "Figures": _figures(runs),
        "Settings that differ": _settings(runs),
    }
    body = "".join(f"<section><h2>{heading}</h2>{content}</section>" for heading, content in sections.items())
    title = f"{len(runs)} training run{'s' if len(runs) > 1 else ''}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{title}</h1><p>{keys}</p>{body}</body></html>\n"
    )


def _curve(name: str, runs: Sequence[_Run]) -> str:
    curves = [(run.colour, run.curves[name]) for run in runs if name in run.curves]
    xs, ys = zip(*(point for _, curve in curves for point in curve), strict=True)
    low_x, high_x, low, high = min(xs), max(xs), min(ys), max(ys)

    def placed(x: float, y: float) -> str:
        across = _LEFT + (x - low_x) / ((high_x - low_x) or 1) * (_WIDTH - _LEFT - 10)
        return f"{across:.1f},{8 + (high - y) / ((high - low) or 1) * (_HEIGHT - _BOTTOM - 14):.1f}"

    lines = []
    for colour, curve in curves:
        thinned = curve[:: -math.ceil(len(curve) / _POINTS)][::-1]  # the last point is among them
        # A single point is a line of no length, which a round end makes visible.
        points = " ".join(placed(*point) for point in (curve[0], *thinned))
        style = f'fill="none" stroke="{colour}" stroke-width="1.5" stroke-linecap="round"'
        lines.append(f'<polyline {style} points="{points}"/>')
    axis = _HEIGHT - _BOTTOM
    return (
        f'<figure><figcaption>{escape(name)}</figcaption><svg width="{_WIDTH}" height="{_HEIGHT}">'
        f'<path d="M{_LEFT} 4V{axis}H{_WIDTH - 6}" fill="none" stroke="#999"/>{"".join(lines)}'
        f'<text x="{_LEFT - 6}" y="12" text-anchor="end">{high:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{axis}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 5}">{low_x:,.0f}</text>'
        f'<text x="{_WIDTH - 6}" y="{_HEIGHT - 5}" text-anchor="end">{high_x:,.0f} images</text></svg></figure>'
    )


def _grid(run: _Run) -> str:
    picture = _none("no grid yet")
    if run.grid is not None:
        picture = f'<img alt="samples" src="data:image/png;base64,{base64.b64encode(run.grid).decode()}">'
    caption = f'<figcaption class="key" style="color:{run.colour}">{escape(run.name)}</figcaption>'
    return f"<figure>{caption}{picture}</figure>"


def _figures(runs: Sequence[_Run]) -> str:
    references = {name: reference for run in runs for name, (_, reference) in run.figures.items()}
    rows = [
        (name.replace("_", " "), *(figure(run.figures.get(name, (None,))[0]) for run in runs), figure(reference))
        for name, reference in references.items()
    ]
    return _table(["", *(run.name for run in runs), "real images"], rows) if rows else _none("no run was evaluated")


def _settings(runs: Sequence[_Run]) -> str:
    rows = []
    for name in dict.fromkeys(name for run in runs for name in run.settings):
        values = [json.dumps(run.settings[name]) if name in run.settings else "" for run in runs]
        if len(set(values)) > 1:
            rows.append((name, *values))
    return _table(["", *(run.name for run in runs)], rows) if rows else _none("none")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _none(why: str) -> str:
    return f'<p class="none">{why}</p>'
