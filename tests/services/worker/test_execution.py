"""The rule that chooses the plan: setting, card and machine in, name out."""

import sys
from pathlib import Path

import pytest

from gantry.v1 import models_pb2
from services.worker import execution
from services.worker.execution import (
    FLOAT32,
    ExecutionPlan,
    can_compile,
    has_matrix_units,
    parse_device,
    parse_execution,
    plan_of,
)

ALLOWED = models_pb2.ModelCard(execution=models_pb2.ExecutionSpec(bfloat16=True))
NOT_ALLOWED = models_pb2.ModelCard()


@pytest.mark.parametrize(
    ("setting", "units", "compiler", "name"),
    [
        ("auto", True, True, "cpu-bfloat16-inductor"),
        ("auto", True, False, "cpu-bfloat16-eager"),
        ("auto", False, True, "cpu-float32-eager"),
        ("auto", False, False, "cpu-float32-eager"),
        ("float32", True, True, "cpu-float32-eager"),
        ("bfloat16", True, True, "cpu-bfloat16-inductor"),
        ("bfloat16", False, True, "cpu-bfloat16-inductor"),
        ("bfloat16", True, False, "cpu-bfloat16-eager"),
    ],
)
def test_the_plan_follows_from_setting_and_machine(
    setting: str, units: bool, compiler: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "has_matrix_units", lambda: units)
    monkeypatch.setattr(execution, "can_compile", lambda: compiler)
    assert plan_of(ALLOWED, parse_execution(setting)).name == name
    assert plan_of(NOT_ALLOWED, parse_execution(setting)) == FLOAT32


@pytest.mark.parametrize(("setting", "precision"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_a_gpu_runs_what_is_asked_and_compiles_nothing(setting: str, precision: str) -> None:
    assert plan_of(ALLOWED, parse_execution(setting), "cuda:1").name == f"cuda-{precision}-eager"
    assert plan_of(NOT_ALLOWED, parse_execution(setting), "cuda:1").name == "cuda-float32-eager"


def test_names_of_plans() -> None:
    assert FLOAT32.name == "cpu-float32-eager"
    assert ExecutionPlan("bfloat16", compiled=True).name == "cpu-bfloat16-inductor"


@pytest.mark.parametrize("text", ["", "AUTO", "bf16", "float16"])
def test_other_settings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be auto or float32 or bfloat16"):
        parse_execution(text)


def test_devices_are_named_as_torch_names_them() -> None:
    assert parse_device("cuda") == "cuda"
    with pytest.raises(ValueError, match="must be cpu or cuda"):
        parse_device("gpu")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu amx_bf16 avx512_fp16 amx_tile\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_int8\n", False),
        ("model name\t: amx_bf16\nflags\t\t: fpu\n", False),
        ("", False),
    ],
)
def test_matrix_units_are_read_off_the_flags(
    told: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(execution, "_CPU_INFO", tmp_path / "cpuinfo")
    assert has_matrix_units() is expected


def test_a_machine_that_tells_nothing_has_no_matrix_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_CPU_INFO", tmp_path / "none")
    assert not has_matrix_units()


@pytest.mark.parametrize(("compiler", "header"), [(True, True), (True, False), (False, True)])
def test_compiling_takes_a_compiler_and_the_headers(
    compiler: bool, header: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiler:
        (tmp_path / "g++").write_text("#!/bin/sh\n")
        (tmp_path / "g++").chmod(0o755)
    if header:
        (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(execution.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert can_compile() is (compiler and header)


def test_torch_agrees_on_the_matrix_units() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells")
    import torch

    assert has_matrix_units() == bool(torch.cpu.get_capabilities().get("amx_bf16", False))
