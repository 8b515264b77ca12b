"""All cases, in the order of the page."""

from benchmarks.faults import cancelled, poison, storm

CASES = [storm.CASE, cancelled.CASE, poison.CASE]
