"""All cases, in the order of the page."""

from benchmarks.faults import storm

CASES = [storm.CASE]
