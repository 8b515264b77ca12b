"""Where and in what arithmetic the nets run."""

import shutil
import sysconfig
from pathlib import Path
from typing import Literal

import torch

from training.config import ConfigError, Precision

DeviceName = Literal["auto", "cpu", "cuda"]


def resolve_device(name: DeviceName) -> torch.device:
    """Turns the flag into a device.

    Args:
        name: "auto" takes CUDA where there is any.

    Returns:
        The device.

    Raises:
        ConfigError: If CUDA is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch finds no CUDA device here; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """Turns "auto" into bfloat16 where the device multiplies matrices in it, else float32.

    Args:
        precision: The setting.
        device: Where the nets run.

    Returns:
        The precision to run in.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if torch.cpu.get_capabilities().get("amx_bf16") else "float32"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which losses are computed; their own sums stay in float32 (see `training.objectives`).

    Args:
        precision: A resolved precision.
        device: Where the nets run.

    Returns:
        A context manager that does nothing in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def compiler_problem(device: torch.device) -> str | None:
    """Says why torch.compile cannot work here, or None where it can.

    Args:
        device: Where the kernels would run.

    Returns:
        What is missing.
    """
    if device.type == "cuda":
        return None  # its kernels come from Triton, which brings its own compiler
    if not any(map(shutil.which, ("g++", "clang++"))):
        return "there is no C++ compiler (Debian: g++)"
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return "Python's headers are missing (Debian: python3-dev)"
    return None
