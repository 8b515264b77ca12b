"""How many threads torch may use: as many as this process may use cores, which in a container are fewer than there are.

More threads than cores wait for each other: on a busy machine the digits then train at a tenth of their speed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Counts the cores that this process may use.

    Args:
        cgroup: Where the control groups are mounted, of version 2 or 1.

    Returns:
        The cores of its affinity, or what its CPU quota is worth where that is less, rounded up; at least 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = map(int, " ".join((cgroup / file).read_text() for file in files).split())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        if quota > 0:  # version 1 says -1 where there is no limit
            cores = min(cores, -(-quota // period))
    return max(1, cores)


def default_threads() -> int:
    """What torch would use, of which OMP_NUM_THREADS may decide, but at most this process's share of the cores."""
    share = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(torch.get_num_threads(), share))


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """A block in which torch uses this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
