"""Threads follow what the process may use."""

import os
from pathlib import Path

import pytest
import torch

from training.engine.threads import default_threads, torch_threads, usable_cores


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "300000 100000\n"}, 3),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "1000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_the_quota_of_either_version_counts(files: dict[str, str], cores: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == cores


def test_a_block_has_its_own_number_of_threads() -> None:
    before = torch.get_num_threads()
    with torch_threads(3):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before


def test_the_default_is_a_share_of_the_cores_and_no_more_than_torch_would_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with torch_threads(6):
        assert default_threads() <= 6
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
        assert default_threads() <= 2
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "99")
        assert default_threads() == 1
