"""How many CPU cores this process may use: fewer than the machine has, inside a container."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def count_cores(quota: Path = _QUOTA) -> int:
    """Count them.

    Args:
        quota: The control group's file with microseconds of CPU time per period, "max 100000" for no limit
            (https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files).

    Returns:
        The cores of the process's affinity, or what the quota is worth where that is less, rounded up; at least 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(cores, -(-int(allowed) // int(period))))
    except (OSError, ValueError):
        return cores
