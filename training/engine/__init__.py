"""Runs any list of phases: the loop, precision, moving average, statistics, checkpoints and exact resume."""

from training.engine.checkpoint import CheckpointError
from training.engine.loop import Quality, train
from training.engine.runs import Run, RunDir, load_net, load_run
from training.engine.signals import Interrupted
from training.engine.statistics import DivergedError

__all__ = [
    "CheckpointError",
    "DivergedError",
    "Interrupted",
    "Quality",
    "Run",
    "RunDir",
    "load_net",
    "load_run",
    "train",
]
