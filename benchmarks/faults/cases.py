"""All cases, in the order of the page."""

from benchmarks.faults import cancelled, poison, requests, restarts, soak, storm, workers

CASES = [storm.CASE, cancelled.CASE, poison.CASE, workers.CASE, requests.CASE, restarts.CASE, soak.CASE]
