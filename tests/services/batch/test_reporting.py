"""Reports of a job: log lines, a bar, and metrics pushed to a server that takes them as a Pushgateway does."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.batch.job import Tally
from services.batch.reporting import Bar, LogLines, Pusher


class Clock:
    """Time that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def tally(done: int, skipped: int = 0, failed: int = 0) -> Tally:
    return Tally(done, skipped, failed, Counter())


def test_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.INFO):
        lines = LogLines(100, clock=clock)
        lines.tell(tally(1))
        clock.now += 10
        lines.tell(tally(40, 15, 5))
        lines.tell(tally(41, 15, 5))
        lines.finish(tally(80, 15, 5), finished=True)
    assert caplog.messages == [
        "60/100: 40 done, 15 finished before, 5 failed; 4.0 images/s, 10 s left",
        "100/100: 80 done, 15 finished before, 5 failed; 8.0 images/s",
    ]


def test_a_bar_tells_the_speed(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    bar = Bar(50, clock=clock)
    clock.now += 10
    bar.finish(tally(40, 5, 2), finished=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "47/50" in shown.err
    assert "4.0 images/s, 2 failed" in shown.err


@pytest.fixture
def pushed() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """URL of a server, and what it was sent: method, path, body."""
    requests: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append((self.command, self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    thread.join()
    server.server_close()


def samples(body: str) -> dict[str, float]:
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def test_metrics_are_pushed_now_and_then_and_at_the_end(pushed: tuple[str, list[tuple[str, str, str]]]) -> None:
    url, requests = pushed
    clock = Clock()
    pusher = Pusher(url, {"shard": "0-of-2", "instance": "nightly"}, clock=clock)
    for seconds in (0, 10, 10, 10):
        clock.now += seconds
        pusher.tell(tally(int(clock.now), 3, 1))
    assert len(requests) == 2
    method, path, body = requests[-1]
    assert (method, path) == ("POST", "/metrics/job/gantry-batch/instance/nightly/shard/0-of-2")
    assert samples(body) == {
        "gantry_job_itemsdone": 130,
        "gantry_job_itemsskipped": 3,
        "gantry_job_itemsfailed": 1,
        "gantry_job_seconds": 30,
        "gantry_job_images_per_second": pytest.approx(130 / 30),
    }
    pusher.finish(tally(140), finished=True)
    assert samples(requests[-1][2])["gantry_job_last_success_timestamp_seconds"] > 1.6e9


def test_a_run_that_did_not_finish_leaves_the_last_success_alone(
    pushed: tuple[str, list[tuple[str, str, str]]],
) -> None:
    url, requests = pushed
    Pusher(url, {}, clock=Clock()).finish(tally(1), finished=False)
    assert "last_success" not in requests[-1][2]


def test_a_pushgateway_that_is_gone_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    Pusher("http://127.0.0.1:9", {}, clock=Clock()).finish(tally(1), finished=True)
    assert "could not be pushed" in caplog.text


@pytest.mark.parametrize("url", ["http://host:port", "http://a b", "ftp://"])
def test_a_pushgateway_that_cannot_be_is_a_warning_too(url: str, caplog: pytest.LogCaptureFixture) -> None:
    Pusher(url, {}, clock=Clock()).finish(tally(1), finished=True)
    assert "could not be pushed" in caplog.text
