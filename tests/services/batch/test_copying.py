"""Archives from a source into a model store: whole, sound, and no more often than needed."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from typer.testing import CliRunner

from services.batch.copying import Copied, copy_archives
from services.batch.storage import is_url
from services.cli import app
from services.worker.archive import open_archive
from tests.archives import write_tiny_archive


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("archives")
    first = write_tiny_archive(folder, "first")
    second = write_tiny_archive(folder, "second", seed=1)
    return {"first.mar": first.read_bytes(), "second.mar": second.read_bytes()}


@pytest.fixture(params=["folder", "memory", "s3", "gcs"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Path or URL of a source without archives yet."""
    if request.param == "folder":
        return str(tmp_path / "source")
    if request.param == "memory":
        return f"memory://{uuid4().hex}"
    return f"{request.getfixturevalue(request.param)}/models"


def put(source: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        with fsspec.open(f"{source}/{name}", "wb", **({} if is_url(source) else {"auto_mkdir": True})) as file:
            file.write(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_archives_are_copied_and_sound(source: str, archives: dict[str, bytes], tmp_path: Path) -> None:
    put(source, archives | {"notes.txt": b"not an archive"})
    store = tmp_path / "made" / "store"
    assert copy_archives(source, store) == Copied(fetched=["first.mar", "second.mar"])
    assert names(store) == ["first.mar", "second.mar"]
    for name, content in archives.items():
        assert (store / name).read_bytes() == content
    assert [path.name for path in store.iterdir() if path.name.startswith(".")] == [".copied.json"]


def test_what_is_here_is_not_fetched_again(source: str, archives: dict[str, bytes], tmp_path: Path) -> None:
    put(source, archives)
    store = tmp_path / "store"
    copy_archives(source, store)
    before = (store / "first.mar").stat()
    assert copy_archives(source, store) == Copied(unchanged=["first.mar", "second.mar"])
    assert (store / "first.mar").stat().st_mtime_ns == before.st_mtime_ns


def test_what_changed_in_the_source_is_fetched(source: str, archives: dict[str, bytes], tmp_path: Path) -> None:
    put(source, archives)
    store = tmp_path / "store"
    copy_archives(source, store)
    put(source, {"first.mar": archives["second.mar"]})
    assert copy_archives(source, store) == Copied(fetched=["first.mar"], unchanged=["second.mar"])
    assert (store / "first.mar").read_bytes() == archives["second.mar"]


def test_a_copy_that_was_changed_or_lost_is_fetched(source: str, archives: dict[str, bytes], tmp_path: Path) -> None:
    put(source, archives)
    store = tmp_path / "store"
    copy_archives(source, store)
    (store / "first.mar").write_bytes(b"written over")
    (store / "second.mar").unlink()
    assert copy_archives(source, store).fetched == ["first.mar", "second.mar"]
    assert (store / "first.mar").read_bytes() == archives["first.mar"]


def test_another_source_counts_as_a_change(archives: dict[str, bytes], tmp_path: Path) -> None:
    for folder in ("one", "two"):
        put(str(tmp_path / folder), archives)
    copy_archives(str(tmp_path / "one"), tmp_path / "store")
    assert copy_archives(str(tmp_path / "two"), tmp_path / "store").fetched == ["first.mar", "second.mar"]


def test_an_unsound_archive_is_named_and_the_others_come(
    source: str, archives: dict[str, bytes], tmp_path: Path
) -> None:
    put(source, archives | {"broken.mar": archives["first.mar"][:-100]})
    done = copy_archives(source, tmp_path / "store")
    assert done.fetched == ["first.mar", "second.mar"]
    assert list(done.refused) == ["broken.mar"]
    assert "not a readable .mar file" in done.refused["broken.mar"]
    assert names(tmp_path / "store") == ["first.mar", "second.mar"]
    assert not list((tmp_path / "store").glob("*.partial"))


def test_an_unsound_archive_does_not_replace_the_one_before(
    source: str, archives: dict[str, bytes], tmp_path: Path
) -> None:
    put(source, archives)
    copy_archives(source, tmp_path / "store")
    put(source, {"first.mar": b"no archive"})
    done = copy_archives(source, tmp_path / "store", prune=True)
    assert list(done.refused) == ["first.mar"]
    assert (tmp_path / "store" / "first.mar").read_bytes() == archives["first.mar"]
    assert "first.mar" in copy_archives(source, tmp_path / "store").refused  # It is not taken for the same later on.


@pytest.mark.parametrize("prune", [False, True])
def test_what_the_source_lacks_goes_only_if_asked(
    source: str, archives: dict[str, bytes], tmp_path: Path, prune: bool
) -> None:
    put(source, {"first.mar": archives["first.mar"]})
    store = tmp_path / "store"
    store.mkdir()
    (store / "old.mar").write_bytes(b"of long ago")
    (store / "notes.txt").write_bytes(b"somebody's")
    done = copy_archives(source, store, prune=prune)
    assert done.removed == (["old.mar"] if prune else [])
    assert names(store) == (["first.mar", "notes.txt"] if prune else ["first.mar", "notes.txt", "old.mar"])


def test_one_archive_or_a_glob(archives: dict[str, bytes], tmp_path: Path) -> None:
    put(str(tmp_path / "source"), archives)
    assert copy_archives(f"{tmp_path}/source/first.mar", tmp_path / "one").fetched == ["first.mar"]
    assert copy_archives(f"{tmp_path}/source/s*.mar", tmp_path / "some").fetched == ["second.mar"]


def test_two_archives_of_one_name_are_refused(archives: dict[str, bytes], tmp_path: Path) -> None:
    for folder in ("one", "two"):
        put(f"{tmp_path}/source/{folder}", archives)
    with pytest.raises(OSError, match=r"has two archives named first\.mar: .*/one/first\.mar and .*/two/first\.mar"):
        copy_archives(f"{tmp_path}/source/*/first.mar", tmp_path / "store")


def test_a_source_without_archives_is_a_fault_and_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "old.mar").write_bytes(b"of long ago")
    with pytest.raises(FileNotFoundError, match=r"source has no archives \(\*\.mar\)"):
        copy_archives(str(tmp_path / "source"), tmp_path / "store", prune=True)
    assert names(tmp_path / "store") == ["old.mar"]


def test_the_command_tells_what_it_did(archives: dict[str, bytes], tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    put(str(source), archives)
    command = ["batch", "copy", str(source), str(store), "--prune"]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, done.output) == (0, "copied first.mar\ncopied second.mar\n")
    put(str(source), {"broken.mar": b"no archive"})
    (source / "second.mar").unlink()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert done.stdout == "unchanged first.mar\nremoved second.mar\n"
    assert done.stderr.startswith("gantry batch copy: refused broken.mar: not a readable .mar file")


def test_the_command_tells_of_a_fault(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["batch", "copy", str(tmp_path / "none"), str(tmp_path / "store")])
    assert done.exit_code == 1
    assert "none has no archives (*.mar)" in done.output


_COPY = """
import os, signal, sys
from pathlib import Path
import services.batch.copying as copying
steps = iter(range(int(sys.argv[3]), -1, -1))
def dying(function):
    def called(*arguments, **options):
        if next(steps) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        done = function(*arguments, **options)
        if next(steps) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return called
copying.shutil.copyfileobj = dying(copying.shutil.copyfileobj)
copying.open_archive = dying(copying.open_archive)
Path.replace = dying(Path.replace)
copying.json.dump = dying(copying.json.dump)
copying.copy_archives(sys.argv[1], Path(sys.argv[2]))
"""


def test_killed_anywhere_no_part_of_an_archive_is_ever_seen(archives: dict[str, bytes], tmp_path: Path) -> None:
    put(str(tmp_path / "source"), archives)
    for step in itertools.count():
        store = tmp_path / "store"
        shutil.rmtree(store, ignore_errors=True)
        command = [sys.executable, "-c", _COPY, str(tmp_path / "source"), str(store), str(step)]
        code = subprocess.run(command, check=False).returncode
        for path in store.glob("*.mar"):
            open_archive(path)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        copy_archives(str(tmp_path / "source"), store)
        assert {name: (store / name).read_bytes() for name in os.listdir(store) if name[0] != "."} == archives
        assert not list(store.glob(".*.partial"))
    assert step == 14  # Before and after each of three steps of two archives, and of writing the record.
