"""Means between readings, and the refusal of losses that are no numbers."""

import pytest
import torch

from training.engine.statistics import DivergedError, Statistics


def test_reads_the_mean_of_each_name_since_the_last_reading() -> None:
    statistics = Statistics()
    statistics.add({"a": torch.tensor(1.0), "b": torch.tensor(10.0)})
    statistics.add({"a": torch.tensor(3.0)})
    assert statistics.read(images=2) == {"a": 2.0, "b": 10.0}
    statistics.add({"a": torch.tensor(5.0)})
    assert statistics.read(images=3) == {"a": 5.0}
    assert statistics.read(images=3) == {}


def test_added_values_keep_no_graph_and_are_not_changed() -> None:
    statistics, value = Statistics(), torch.tensor(1.0, requires_grad=True)
    for _ in range(2):
        statistics.add({"a": value * 2})
    assert statistics.read(images=1) == {"a": 2.0}
    assert value.item() == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_bad_value_among_good_ones_is_found(bad: float) -> None:
    statistics = Statistics()
    for value in (1.0, bad, 1.0):
        statistics.add({"generator/loss": torch.tensor(value)})
    with pytest.raises(DivergedError, match=r"generator/loss is (nan|inf) after 1,000 images"):
        statistics.read(images=1000)
