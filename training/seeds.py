"""Derives independent seeds from one, so that what is random at a step depends on the run's seed and the step alone."""

import hashlib

import torch


def derive_seed(seed: int, *names: int | str) -> int:
    """Hashes a seed and the names of its purpose into a new seed.

    Args:
        seed: The run's seed.
        names: What the new seed is for, e.g. `("epoch", 3)`; other names give an unrelated seed.

    Returns:
        An integer in [0, 2**63).
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def random_source(seed: int, *names: int | str) -> torch.Generator:
    """A CPU random generator of its own for one purpose; see `derive_seed`.

    Drawing on the CPU, whatever the device, makes a run's randomness the same on every machine.
    """
    return torch.Generator().manual_seed(derive_seed(seed, *names))
