"""`gantry batch sample` as a user runs it: a balanced data set with its labels, whatever happens on the way."""

import csv
import hashlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import training.torchvision_cpu  # noqa: F401  # lets torchvision be imported beside a torch for the CPU
from services.batch.storage import open_filesystem
from services.cli import app
from services.client import Client
from tests.archives import write_tiny_archive
from tests.services.batch.engine import lines_of, wait_for_lines
from tests.services.batch.gate import gated

COUNT = 100


def sample(address: str, out: Path, *options: str, model: str = "tiny", count: int = COUNT) -> Result:
    command = ["batch", "sample", model, "--out", str(out), "--count", str(count), "--address", address, *options]
    return CliRunner().invoke(app, command)


def labels(out: Path) -> list[dict[str, str]]:
    with (out / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pictures(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / "images").glob("*/*")}


@pytest.fixture(scope="module")
def data_set(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data-set")
    done = sample(address, out)
    assert done.exit_code == 0, done.output
    return out


def test_the_table_tells_of_every_picture_how_to_make_it_again(address: str, data_set: Path) -> None:
    found, rows = pictures(data_set), labels(data_set)
    assert [row["path"] for row in rows] == sorted(found)
    assert Counter(row["class"] for row in rows) == {"circle": 34, "square": 33, "three words here": 33}
    assert list(rows[0]) == ["path", "label", "class", "seed", "truncation", "sha256"]
    with Client(address) as client:
        for row in random.Random(0).sample(rows, 20):
            (online,) = client.sample("tiny", labels=row["class"], seed=int(row["seed"]))
            assert online.data == found[row["path"]]
            assert online.label == int(row["label"])
            assert hashlib.sha256(online.data).hexdigest() == row["sha256"]


def test_torchvision_reads_it(data_set: Path) -> None:
    from torchvision.datasets import ImageFolder

    found = ImageFolder(str(data_set / "images"))
    assert found.classes == ["circle", "square", "three words here"]
    assert Counter(found.targets) == {0: 34, 1: 33, 2: 33}
    picture, target = found[99]
    assert (picture.size, target) == ((6, 8), 2)


def test_codes_stand_in_the_table(address: str, tmp_path: Path) -> None:
    options = "--code", "slant=0.3", "--truncation", "0.7", "--label", "round", "--label", "2", "--seed", "5"
    assert sample(address, tmp_path, *options, model="tiny-codes", count=10).exit_code == 0
    rows = labels(tmp_path)
    assert list(rows[0]) == ["path", "label", "class", "seed", "truncation", "k1", "c1", "c2", "sha256"]
    assert [row["class"] for row in rows] == ["long"] * 5 + ["round"] * 5
    assert {(row["k1"], row["c1"], row["truncation"]) for row in rows} == {("2", "0.3", "0.7"), ("0", "0.3", "0.7")}
    with Client(address) as client:
        codes = {"shape": "long", "slant": 0.3, "c2": float(rows[0]["c2"])}
        (online,) = client.sample("tiny-codes", codes=codes, seed=int(rows[0]["seed"]), truncation=0.7)
        assert online.data == (tmp_path / rows[0]["path"]).read_bytes()


def test_attributes_stand_in_the_table(address: str, tmp_path: Path) -> None:
    assert sample(address, tmp_path, "--attribute", "smile=0.3", model="tiny-attributes", count=5).exit_code == 0
    rows = labels(tmp_path)
    assert list(rows[0]) == ["path", "label", "class", "seed", "truncation", "smile", "age", "sha256"]
    assert {(row["class"], row["label"], row["smile"]) for row in rows} == {("all", "0", "0.3")}
    assert len({row["age"] for row in rows}) == 5
    with Client(address) as client:
        held = {"smile": 0.3, "age": float(rows[4]["age"])}
        (online,) = client.sample("tiny-attributes", attributes=held, seed=int(rows[4]["seed"]))
        assert online.data == (tmp_path / rows[4]["path"]).read_bytes()


def test_a_model_without_a_condition_has_one_class(address: str, tmp_path: Path) -> None:
    assert sample(address, tmp_path, model="tiny-plain", count=3).exit_code == 0
    assert [row["path"] for row in labels(tmp_path)] == [f"images/all/0000000{number}.png" for number in range(3)]


def test_shards_make_the_same_files_and_the_same_table(address: str, data_set: Path, tmp_path: Path) -> None:
    for shard in ("1/3", "0/3", "2/3"):
        assert not (tmp_path / "labels.csv").exists()
        assert sample(address, tmp_path, "--shard", shard).exit_code == 0
    assert (tmp_path / "labels.csv").read_bytes() == (data_set / "labels.csv").read_bytes()
    assert pictures(tmp_path) == pictures(data_set)


def test_a_larger_set_keeps_what_is_there(address: str, data_set: Path, tmp_path: Path) -> None:
    assert sample(address, tmp_path, count=40).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("images/*/*")}
    assert sample(address, tmp_path).exit_code == 0
    assert (tmp_path / "labels.csv").read_bytes() == (data_set / "labels.csv").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("options", [("--seed", "1"), ("--format", "jpeg"), ("--truncation", "0.5")])
def test_one_folder_holds_one_data_set(address: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    assert sample(address, tmp_path, count=12).exit_code == 0
    before = pictures(tmp_path)
    done = sample(address, tmp_path, *options, count=12)
    assert done.exit_code == 1
    assert "holds another data set, which can only be continued, or enlarged by --count" in done.output
    assert sample(address, tmp_path, count=11).exit_code == 1
    assert pictures(tmp_path) == before


def test_a_file_of_somebody_else_fails_its_item_and_no_other(address: str, tmp_path: Path) -> None:
    foreign = tmp_path / "images" / "square" / "00000003.png"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"somebody's")
    assert sample(address, tmp_path, count=30).exit_code == 3
    assert foreign.read_bytes() == b"somebody's"
    assert len(labels(tmp_path)) == 29
    assert sample(address, tmp_path, "--overwrite", count=30).exit_code == 0
    assert len(labels(tmp_path)) == 30


def test_a_run_that_ends_early_leaves_no_table(address: str, tmp_path: Path) -> None:
    foreign = tmp_path / "images" / "circle" / "00000000.png"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"somebody's")
    assert sample(address, tmp_path, "--max-failures", "1", "--concurrency", "1", count=60).exit_code == 3
    assert not (tmp_path / "labels.csv").exists()
    assert sample(address, tmp_path, count=60).exit_code == 3
    assert len(labels(tmp_path)) == 59


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--label", "dog"), "--label: model tiny has no class 'dog'; its classes: 0 'circle'"),
        (("--code", "slant=1"), "model tiny has no codes"),
        (("--attribute", "smile=1"), "model tiny has no attributes"),
        (("--attribute", "smile"), "--attribute smile: must be NAME=VALUE"),
        (("--shard", "3/3"), "shard 3/3: must be i/n"),
    ],
)
def test_faults_of_the_job_are_told(address: str, tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    done = sample(address, tmp_path, *options)
    assert done.exit_code == 1
    assert told in done.output
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("slant=9", "sample.codes[0].number: must be -1 to 1, got 9"),
        ("slant=nan", "sample.codes[0].number: must be -1 to 1, got nan"),
        ("foo=1", "has no code 'foo'"),
        ("shape=4294967296", "codes: index: must be 0 to 4294967295"),
    ],
)
def test_what_the_gateway_refuses_does_not_take_the_folder(
    address: str, tmp_path: Path, option: str, told: str
) -> None:
    done = sample(address, tmp_path, "--code", option, model="tiny-codes", count=10)
    assert done.exit_code == 1
    assert told in done.output
    assert sample(address, tmp_path, "--code", "slant=0.5", model="tiny-codes", count=10).exit_code == 0
    assert len(labels(tmp_path)) == 10


def test_an_object_store_holds_a_set_too(address: str, data_set: Path, bucket: str) -> None:
    for shard in ("0/2", "1/2"):
        options = "--out", f"{bucket}/set", "--count", str(COUNT), "--address", address, "--shard", shard
        assert CliRunner().invoke(app, ["batch", "sample", "tiny", *options]).exit_code == 0
    filesystem, root = open_filesystem(f"{bucket}/set")
    assert filesystem.cat_file(f"{root}/labels.csv") == (data_set / "labels.csv").read_bytes()
    found = {
        path.removeprefix(f"{root}/"): data for path, data in filesystem.cat(filesystem.find(f"{root}/images")).items()
    }
    assert found == pictures(data_set)


def test_killed_again_and_again_it_repeats_and_loses_nothing(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    write_tiny_archive(tmp_path)
    dice = random.Random(3)
    with gated(tmp_path) as gate:
        command = [sys.executable, "-m", "services.cli", "batch", "sample", "tiny", "--count", "600"]
        command += ["--out", str(killed), "--address", gate.address, "--no-progress", "--concurrency", "32"]
        for lines in (100, 300, 500):
            # What a killed call asked for may be among them: it has 32 pictures.
            gate.allow(140)
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            wait_for_lines(killed, lines, process)
            time.sleep(dice.random() / 100)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        gate.allow()
        assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
        assert sample(gate.address, whole, count=600).exit_code == 0
    assert pictures(killed) == pictures(whole)
    assert (killed / "labels.csv").read_bytes() == (whole / "labels.csv").read_bytes()
    assert [record.status for record in lines_of(killed)].count("done") == 600
