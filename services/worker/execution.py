"""The execution plan of a model: where and in which precision its graphs run, and whether they are compiled first.

The plan follows from two settings, the card and the processor, never from a race, and its name goes out with every
picture: under another plan the last digits of a computation differ.

Needs no torch: a gateway checks the setting with it and hands it on.
"""

import re
import shutil
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from gantry.v1 import models_pb2

Execution = Literal["auto", "float32", "bfloat16"]
Precision = Literal["float32", "bfloat16"]
Device = Literal["cpu", "cuda"]

_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class ExecutionPlan:
    """How graphs run.

    Attributes:
        precision: That of the convolutions.
        compiled: Whether inductor compiles the graphs to native code.
        device: Where they run, in torch's words: "cpu", "cuda", or a certain GPU such as "cuda:1".
    """

    precision: Precision
    compiled: bool
    device: str = "cpu"

    @property
    def name(self) -> str:
        """The plan's name, for example "cpu-float32-eager"; it is the same on every GPU of a machine."""
        return f"{self.device.partition(':')[0]}-{self.precision}-{'inductor' if self.compiled else 'eager'}"


FLOAT32 = ExecutionPlan("float32", compiled=False)


def parse_execution(text: str) -> Execution:
    """Read the setting.

    Args:
        text: "auto", "float32" or "bfloat16".

    Returns:
        The same, typed.

    Raises:
        ValueError: It is something else.
    """
    return cast(Execution, _one_of(get_args(Execution), "execution", text))


def parse_device(text: str) -> Device:
    """Read the setting.

    Args:
        text: "cpu" or "cuda".

    Returns:
        The same, typed.

    Raises:
        ValueError: It is something else.
    """
    return cast(Device, _one_of(get_args(Device), "device", text))


def plan_of(card: models_pb2.ModelCard, execution: Execution, device: str = "cpu") -> ExecutionPlan:
    """Choose the plan of a model on this machine.

    Args:
        card: The model's card.
        execution: "float32" and "bfloat16" ask for a precision, "auto" for bfloat16 where it is faster. A model whose
            card does not allow bfloat16 always runs in float32.
        device: "cpu", or the GPU that its graphs run on; there "auto" means float32, and nothing is compiled.

    Returns:
        The plan.
    """
    if execution == "float32" or not card.execution.bfloat16:
        return ExecutionPlan("float32", compiled=False, device=device)
    if device != "cpu":
        return ExecutionPlan("float32" if execution == "auto" else "bfloat16", compiled=False, device=device)
    if execution == "auto" and not has_matrix_units():
        return FLOAT32
    return ExecutionPlan("bfloat16", compiled=can_compile())


def has_matrix_units() -> bool:
    """Whether the processor multiplies matrices of bfloat16 (AMX). Known of Linux alone."""
    try:
        return bool(re.search(r"^flags\s*:.*\bamx_bf16\b", _CPU_INFO.read_text(), re.MULTILINE))
    except OSError:
        return False


def can_compile() -> bool:
    """Whether inductor finds what it needs: a C++ compiler, and Python's headers."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return any(shutil.which(compiler) for compiler in ("g++", "clang++")) and headers.exists()


def _one_of(allowed: Sequence[str], setting: str, text: str) -> str:
    if text not in allowed:
        raise ValueError(f"{setting} {text!r}: must be {' or '.join(allowed)}")
    return text
