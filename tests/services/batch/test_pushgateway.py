"""A job's metrics in a real Pushgateway, read as Prometheus reads them."""

import shutil
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from services.batch.job import Tally
from services.batch.reporting import Pusher
from services.cli import app
from services.client.local_gateway import free_port
from tests.waiting import wait_until

# Debian gives it the first name, its makers the other.
PUSHGATEWAY = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")
LAST_SUCCESS = "gantry_job_last_success_timestamp_seconds"

pytestmark = pytest.mark.skipif(PUSHGATEWAY is None, reason="no Pushgateway: apt-get install prometheus-pushgateway")


@pytest.fixture
def pushgateway(tmp_path: Path) -> Iterator[str]:
    """URL of a Pushgateway without metrics."""
    address = f"127.0.0.1:{free_port()}"
    with (tmp_path / "pushgateway.log").open("wb") as log:
        process = subprocess.Popen(
            [str(PUSHGATEWAY), f"--web.listen-address={address}"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: process.poll() is not None or is_ready(address), "the Pushgateway is ready")
        assert process.poll() is None, (tmp_path / "pushgateway.log").read_text()
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready"):
            return True
    except OSError:
        return False


def scraped(url: str, **labels: str) -> dict[str, float]:
    """The job metrics of one group, by name and status; none where no group has just these labels."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    found = {}
    for sample in (sample for family in families for sample in family.samples if sample.name.startswith("gantry_job")):
        status = sample.labels.get("status")
        if grouping_of(sample.labels) == {"job": "gantry-batch", **labels}:
            found[f"{sample.name} {status}" if status else sample.name] = sample.value
    return found


def grouping_of(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of a group; a Pushgateway adds an empty `instance` where none is given."""
    return {name: value for name, value in labels.items() if name != "status" and value}


def tally(done: int, skipped: int = 0, failed: int = 0) -> Tally:
    return Tally(done, skipped, failed, Counter())


def test_shards_and_labels_are_groups_of_their_own(pushgateway: str) -> None:
    Pusher(pushgateway, {"shard": "0-of-2", "instance": "photos/2026"}).tell(tally(3, 2, 1))
    Pusher(pushgateway, {"shard": "1-of-2"}).tell(tally(7))
    first = scraped(pushgateway, shard="0-of-2", instance="photos/2026")
    assert {name: first[f"gantry_job_items {name}"] for name in ("done", "skipped", "failed")} == {
        "done": 3,
        "skipped": 2,
        "failed": 1,
    }
    assert scraped(pushgateway, shard="1-of-2")["gantry_job_items done"] == 7


def test_a_run_that_does_not_finish_hides_no_earlier_success(pushgateway: str) -> None:
    Pusher(pushgateway, {"shard": "0-of-1"}).finish(tally(5), finished=True)
    before = scraped(pushgateway, shard="0-of-1")
    assert abs(before[LAST_SUCCESS] - time.time()) < 600
    Pusher(pushgateway, {"shard": "0-of-1"}).finish(tally(2), finished=False)
    after = scraped(pushgateway, shard="0-of-1")
    assert after["gantry_job_items done"] == 2
    assert after[LAST_SUCCESS] == before[LAST_SUCCESS]


def test_a_job_s_metrics_are_there_when_it_has_ended(pushgateway: str, address: str, tmp_path: Path) -> None:
    job = ["batch", "sample", "tiny", "--count", "30", "--out", str(tmp_path / "out"), "--address", address]
    result = CliRunner().invoke(app, [*job, "--pushgateway", pushgateway, "--push-label", "data_set=shapes"])
    assert result.exit_code == 0, result.output
    found = scraped(pushgateway, shard="0-of-1", data_set="shapes")
    assert found["gantry_job_items done"] == 30
    assert found["gantry_job_images_per_second"] == pytest.approx(30 / found["gantry_job_seconds"])
    assert LAST_SUCCESS in found


def test_what_a_pushgateway_refuses_is_a_warning(pushgateway: str, caplog: pytest.LogCaptureFixture) -> None:
    Pusher(f"{pushgateway}/elsewhere", {"shard": "0-of-1"}).tell(tally(1))
    assert "could not be pushed" in caplog.text
