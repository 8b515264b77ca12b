"""All cases, in the order of the page."""

from benchmarks.faults import (
    abandoned,
    cancelled,
    delays,
    memory,
    poison,
    quiet,
    requests,
    restarts,
    soak,
    storm,
    workers,
)

CASES = [
    storm.CASE,
    delays.CASE,
    abandoned.CASE,
    cancelled.CASE,
    quiet.CASE,
    poison.CASE,
    workers.CASE,
    memory.CASE,
    requests.CASE,
    restarts.CASE,
    soak.CASE,
]
