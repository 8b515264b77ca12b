"""What the images install is whole: a wheel of just the files that go into a build serves without the repository."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.images.dockerfile import ROOT, in_context

pytestmark = pytest.mark.slow

_PACK_AND_RUN = """
import sys
from pathlib import Path
import services
from gantry.v1.worker_pb2 import WorkRequest
from services.backends.base import probe_item
from services.client.demo_pictures import scene
from services.worker.archive import open_archive
from services.worker.runner import Runner
from tests.archives import write_tiny_archive

scene("horse", 0)
archive = open_archive(write_tiny_archive(Path(sys.argv[1])))
reply = Runner(archive).run(WorkRequest(items=[probe_item(archive.card)]))
print(Path(services.__file__).parent, reply.results[0].WhichOneof("outcome"), sep="\\n")
"""
FOLDERS = ("services", "training", "protos")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that .dockerignore lets into a build."""
    folder = tmp_path_factory.mktemp("context")
    files = [path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    for name in in_context([path.relative_to(ROOT).as_posix() for path in files], (ROOT / ".dockerignore").read_text()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def unpacked(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    # The build's requirements are those of this environment, as they are pinned to the same versions.
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, context], check=True)
    (wheel,) = folder.glob("gantry-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_wheel_has_every_module_and_picture(context: Path, unpacked: Path) -> None:
    # The settings of the image of TorchServe are copied by themselves.
    meant = {
        path.relative_to(root)
        for root in (context, context / "protos/gen")
        for folder in ("services", "training", "gantry", "torchserve")
        for path in (root / folder).rglob("*")
        if path.is_file() and path.parent.name != "torchserve_image"
    }
    there = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}

    assert meant
    assert there >= meant
    assert not [path for path in there - meant if path.parts[0] != "gantry-0.1.0.dist-info"]


def test_modules_of_the_wheel_pack_and_run_a_model(unpacked: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PACK_AND_RUN, tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{unpacked}{os.pathsep}{ROOT}"},  # of the repository, only `tests`
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    home, outcome = done.stdout.splitlines()
    assert Path(home).parent == unpacked
    assert outcome == "image"
