"""The page of several runs is one file that loads nothing and shows what the folders hold."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from training.config import ConfigError
from training.evaluation.compare import write_comparison
from training.evaluation.result import Evaluation, Metric
from training.recipes import RECIPES


class Page(HTMLParser):
    """Collects elements, what they refer to, and text; every element must be closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.cells.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def run_at(path: Path, *, width: int = 32, seed: int = 0, ticks: int = 5) -> Path:
    (path / "grids").mkdir(parents=True)
    settings = {"total_images": 1_000, "batch": 8, "tick": 100, "seed": seed, "generator.width": width}
    config = RECIPES["dcgan"].config("digits").changed(settings)
    (path / "config.json").write_text(config.model_dump_json())
    lines = [{"images": 100 * n, "step": n, "time": 1e9 + n, "generator/loss": 1 / (n + 1)} for n in range(ticks)]
    (path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for n in range(2):
        Image.new("L", (30 + n, 20)).save(path / "grids" / f"{n:09d}.png")
    return path


def evaluated(path: Path, coverage: float, reference: float = 0.97, data: str = "digits") -> Path:
    metric = Metric(name="coverage", value=coverage, reference=reference)
    Evaluation(metrics=(metric,), protocol={"data": data}).save(path / "evaluation.json")
    return path


def test_curves_grids_figures_and_differing_settings_are_on_one_page(tmp_path):
    one = evaluated(run_at(tmp_path / "one"), 0.5)
    other = run_at(tmp_path / "other <&>", width=64)
    out = tmp_path / "new" / "page.html"

    write_comparison([one, other], out)

    page = Page(out.read_text())
    curves = page.all("polyline")
    assert [len(curve["points"].split()) for curve in curves] == [6, 6]  # the first point leads
    assert len({curve["stroke"] for curve in curves}) == 2
    assert [image["src"][:22] for image in page.all("img")] == ["data:image/png;base64,"] * 2
    assert page.cells.count(str(other)) >= 2
    row = page.cells.index("coverage")
    assert page.cells[row : row + 2] == ["coverage", "0.5 (0.97)"]
    row = page.cells.index("generator.width")
    assert page.cells[row : row + 3] == ["generator.width", "32", "64"]
    assert "seed" not in page.cells


def test_each_figure_has_the_reference_of_its_own_data_and_other_data_do_not_compare(tmp_path):
    out = tmp_path / "page.html"
    one = evaluated(run_at(tmp_path / "one"), 0.5)
    other = evaluated(run_at(tmp_path / "other"), 0.25, reference=0.75)
    write_comparison([one, other, run_at(tmp_path / "unevaluated")], out)
    cells = Page(out.read_text()).cells
    row = cells.index("coverage")
    assert cells[row : row + 3] == ["coverage", "0.5 (0.97)", "0.25 (0.75)"]
    assert "Not comparable:" not in cells

    write_comparison([one, evaluated(other, 0.25, data="mnist")], out)
    assert "Not comparable:" in Page(out.read_text()).cells


def test_the_page_loads_nothing(tmp_path):
    out = tmp_path / "page.html"
    write_comparison([run_at(tmp_path / "run")], out)
    assert "http" not in out.read_text()
    assert not Page(out.read_text()).all("script")
    assert not Page(out.read_text()).all("link")


def test_a_run_without_anything_but_its_settings_is_fine(tmp_path):
    run_at(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "grids")
    (tmp_path / "run" / "stats.jsonl").unlink()
    out = tmp_path / "page.html"
    write_comparison([tmp_path / "run"], out)
    cells = Page(out.read_text()).cells
    assert {"no statistics yet", "no grid yet", "no run was evaluated", "none"} <= set(cells)


def test_a_line_that_was_cut_off_ends_the_curves_and_nan_is_left_out(tmp_path):
    run = run_at(tmp_path / "run", ticks=3)
    with (run / "stats.jsonl").open("a") as file:
        file.write('{"images": 300, "generator/loss": NaN}\n{"images": 400, "gener')
    out = tmp_path / "page.html"
    write_comparison([run], out)
    (curve,) = Page(out.read_text()).all("polyline")
    assert len(curve["points"].split()) == 4


def test_what_is_no_run_is_refused(tmp_path):
    out = tmp_path / "page.html"
    with pytest.raises(ConfigError, match=f"{tmp_path}: no training run here, config.json is missing"):
        write_comparison([tmp_path], out)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: "):
        write_comparison([tmp_path], out)
    (run_at(tmp_path / "run") / "evaluation.json").write_text("{")
    with pytest.raises(ConfigError, match=r"evaluation\.json: not of this version; run `gantry evaluate"):
        write_comparison([tmp_path / "run"], out)
    assert not out.exists()
