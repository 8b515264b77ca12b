"""The handler as TorchServe runs it: in a process of its own, with no code of this repository but the archive's."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from gantry.v1 import generation_pb2, worker_pb2
from services.worker.archive import Archive
from services.worker.runner import Runner

# Runs in the archive's folder alone: first its name, then the names of the files with the envelopes and the replies.
_SCRIPT = """
import sys
from pathlib import Path
folder, site, envelopes, replies = sys.argv[1:]
sys.path[:] = [folder, *(entry for entry in sys.path if "-packages" not in entry), site]
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")
                    and "__editable__" not in getattr(finder, "__name__", "")]
import handler, types
service = handler.GantryHandler()
service.initialize(types.SimpleNamespace(system_properties={"model_dir": folder}))
data = [{"envelope": bytearray(path.read_bytes())} for path in sorted(Path(envelopes).iterdir())]
for index, reply in enumerate(service.handle(data + [{"body": b""}, {"envelope": b"\\xff"}], None)):
    (Path(replies) / str(index)).write_bytes(reply)
for name, module in sys.modules.items():
    if name.partition(".")[0] in {"services", "gantry", "training", "tests", "handler"} and module.__spec__.origin:
        assert module.__spec__.origin.startswith(folder), (name, module.__spec__.origin)
"""


@pytest.fixture(scope="module")
def replies(tiny_mar: Path, tmp_path_factory: pytest.TempPathFactory) -> list[worker_pb2.WorkReply]:
    folder, envelopes, answers, elsewhere = (tmp_path_factory.mktemp(name) for name in ("mar", "in", "out", "cwd"))
    with zipfile.ZipFile(tiny_mar) as mar:
        mar.extractall(folder)
    for index, request in enumerate(requests()):
        (envelopes / str(index)).write_bytes(request.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-I", "-c", _SCRIPT, folder, sysconfig.get_paths()["purelib"], envelopes, answers],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [worker_pb2.WorkReply.FromString(path.read_bytes()) for path in sorted(answers.iterdir())]


def requests() -> list[worker_pb2.WorkRequest]:
    items = [
        worker_pb2.WorkItem(
            generate=worker_pb2.GenerateWork(seed=seed, condition=[0.5, 0.25, 0.25], truncation=1.0),
            format=generation_pb2.IMAGE_FORMAT_PNG,
        )
        for seed in range(11)
    ]
    return [
        worker_pb2.WorkRequest(),
        worker_pb2.WorkRequest(items=items),
        worker_pb2.WorkRequest(items=[items[4], worker_pb2.WorkItem()]),
    ]


def test_the_packed_worker_gives_the_bytes_of_this_one(
    replies: list[worker_pb2.WorkReply], tiny_archive: Archive
) -> None:
    runner = Runner(tiny_archive)
    for request, reply in zip(requests(), replies, strict=False):
        expected = runner.run(request)
        assert reply.results == expected.results
        assert reply.description == expected.description
        assert reply.execution == "cpu-float32-eager"


@pytest.mark.parametrize("index", [3, 4])
def test_what_is_not_an_envelope_gets_an_error(replies: list[worker_pb2.WorkReply], index: int) -> None:
    assert [result.error for result in replies[index].results] == [
        "envelope: must be a serialized gantry.v1.WorkRequest"
    ]


def test_every_request_gets_a_reply(replies: list[worker_pb2.WorkReply]) -> None:
    assert len(replies) == 5


def test_a_broken_archive_fails_to_initialize(tiny_mar: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tiny_mar) as mar:
        mar.extractall(tmp_path)
    (tmp_path / "model.pt2").write_bytes(b"broken")
    assert "ArchiveError: model.pt2: its SHA-256 is not the one in the card" in fault_of(tmp_path, {})


def test_a_setting_that_does_not_exist_fails_to_initialize(tiny_mar: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tiny_mar) as mar:
        mar.extractall(tmp_path)
    fault = fault_of(tmp_path, {"GANTRY_EXECUTION": "float16"})
    assert "ValueError: execution 'float16': must be auto or float32 or bfloat16" in fault


def fault_of(folder: Path, environment: dict[str, str]) -> str:
    """What the handler writes when it cannot initialize."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", _SCRIPT, folder, sysconfig.get_paths()["purelib"], folder, folder],
        cwd=folder.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr
