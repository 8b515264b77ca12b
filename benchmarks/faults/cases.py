"""All cases, in the order of the page."""

from benchmarks.faults import poison, storm

CASES = [storm.CASE, poison.CASE]
