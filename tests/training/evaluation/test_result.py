"""Figures survive the file, and no figure is NaN."""

import json
import math

import pytest
from pydantic import ValidationError

from training.evaluation.result import Evaluation, Metric

EVALUATION = Evaluation(
    metrics=(
        Metric(name="class_consistency", value=0.98, reference=0.993),
        Metric(name="class_consistency/T-shirt/top", value=0.9),
    ),
    protocol={"data": "fashion-mnist"},
)


def test_what_is_saved_is_read(tmp_path):
    path = tmp_path / "evaluation.json"
    EVALUATION.save(path)

    assert Evaluation.read(path) == EVALUATION
    written = json.loads(path.read_text())
    assert written["metrics"][0] == {"name": "class_consistency", "value": 0.98, "reference": 0.993}
    assert written["protocol"] == {"data": "fashion-mnist"}


def test_metrics_are_found_by_name():
    assert EVALUATION["class_consistency/T-shirt/top"].value == 0.9
    with pytest.raises(KeyError, match="coverage"):
        EVALUATION["coverage"]


def test_the_table_is_for_people():
    assert EVALUATION.table() == [
        ("", "samples", "real images"),
        ("class consistency", "0.98", "0.993"),
        ("class consistency/T-shirt/top", "0.9", ""),
    ]


def test_a_figure_must_be_a_number():
    with pytest.raises(ValidationError, match="value"):
        Metric(name="coverage", value=math.nan)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text('{"fid": 3}')
    with pytest.raises(ValidationError, match="fid"):
        Evaluation.read(path)
