"""All cases, in the order of the page."""

from benchmarks.faults import cancelled, poison, requests, storm

CASES = [storm.CASE, cancelled.CASE, poison.CASE, requests.CASE]
