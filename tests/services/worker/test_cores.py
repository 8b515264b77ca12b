"""Cores of a container are its quota, not the machine's."""

import math
import os
from pathlib import Path

import pytest

from services.worker.cores import count_cores


@pytest.mark.parametrize(
    ("told", "worth"),
    [
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("150000 100000", 2),
        ("1000000000 100000", 10_000),
        ("max 100000", math.inf),
        ("?", math.inf),
    ],
)
def test_the_quota_bounds_the_cores(told: str, worth: float, tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(told + "\n")
    assert count_cores(quota) == min(worth, len(os.sched_getaffinity(0)))


def test_without_a_control_group_it_is_the_affinity(tmp_path: Path) -> None:
    assert count_cores(tmp_path / "none") == len(os.sched_getaffinity(0))
