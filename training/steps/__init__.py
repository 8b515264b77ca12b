"""What one training step of each model family is, as data: nets and a list of phases."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.data import DatasetInfo, Split, UnpairedInfo
from training.steps import cgan, cyclegan, infogan
from training.steps.phase import Loss, Model, Phase, Stateful


@dataclass(frozen=True)
class Family:
    """What the engine must know of a model family; each function takes the family's own types.

    Attributes:
        load: (configuration, split, folder to look in) → its data set.
        info: What is remembered of a data set: a dataclass of plain values.
        build: (configuration, data set, device) → its nets and its step.
        build_generator: (configuration, info) → the net that is kept, alone, as sampling needs it.
    """

    load: Callable[[Any, Split, Path | None], Any]
    info: type[DatasetInfo] | type[UnpairedInfo]
    build: Callable[[Any, Any, torch.device], Model]
    build_generator: Callable[[Any, Any], nn.Module]


FAMILIES = {
    "cgan": Family(cgan.load_data, DatasetInfo, cgan.build, cgan.build_generator),
    "infogan": Family(infogan.load_data, DatasetInfo, infogan.build, infogan.build_generator),
    "cyclegan": Family(cyclegan.load_data, UnpairedInfo, cyclegan.build, cyclegan.build_generator),
}
"""Every family by its name in the configuration."""

__all__ = ["FAMILIES", "Family", "Loss", "Model", "Phase", "Stateful"]
