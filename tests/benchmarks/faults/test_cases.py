"""The cases of `make faults` in their short form: only what a busy machine can spoil may be other than wanted."""

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from benchmarks.faults.case import Case
from benchmarks.faults.cases import CASES
from benchmarks.faults.scene import Scene

# Its short form takes minutes as well: it has to make more bytes than there is memory for.
LONG = {"memory"}
MODEL_STORE = Path(__file__).resolve().parents[3] / "model_store"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("backend", ["embedded", pytest.param("torchserve", marks=pytest.mark.torchserve)])
@pytest.mark.parametrize("case", [case for case in CASES if case.name not in LONG], ids=lambda case: case.name)
def test_all_is_as_wanted(case: Case, backend: Literal["embedded", "torchserve"], tmp_path: Path) -> None:
    scene = Scene(backend, tmp_path, MODEL_STORE, short=True, soak_minutes=3.0)
    findings = asyncio.run(case.gateway(scene))
    assert findings
    assert [finding for finding in findings if not (finding.met or finding.timed)] == []
