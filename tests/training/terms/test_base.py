"""Heads run when they are first asked for, and once."""

import torch
from torch import nn

from training.terms import Heads


class Counter(nn.Module):
    """Counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def forward(self, features):
        self.passes += 1
        return features + 1


def test_a_head_runs_when_first_asked_for_and_once() -> None:
    modules = nn.ModuleDict({"one": Counter(), "other": Counter()})
    heads = Heads(modules, torch.zeros(2, 3))
    assert modules["one"].passes == 0
    first = heads["one"]
    assert heads["one"] is first
    assert torch.equal(first, torch.ones(2, 3))
    assert (modules["one"].passes, modules["other"].passes) == (1, 0)
