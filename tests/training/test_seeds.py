"""Derived seeds."""

import torch

from training.seeds import derive_seed, random_source


def test_seeds_are_the_same_on_every_machine_and_in_every_process() -> None:
    assert derive_seed(0, "epoch", 3) == 2702420372268120446
    assert 0 <= derive_seed(2**63 - 1, "weights") < 2**63


def test_other_purposes_steps_and_runs_get_other_seeds() -> None:
    seeds = {derive_seed(seed, name, step) for seed in (0, 1) for name in ("a", "b") for step in range(100)}
    assert len(seeds) == 400
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_a_random_source_is_its_own() -> None:
    first = torch.randn(3, generator=random_source(0, "grid"))
    torch.randn(5)
    assert torch.equal(first, torch.randn(3, generator=random_source(0, "grid")))
