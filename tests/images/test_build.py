"""Builds the gateway's image and runs it as Kubernetes would: as its user, without capabilities, on a read-only root.

Optional, since it takes root, minutes and Debian's buildah, podman, runc and debootstrap. The base image is a bare
Debian 12, so that no container registry is asked.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.backends.torchserve.api import OWN_MESSAGE_BYTES
from services.backends.torchserve.process import TorchServeProcess
from services.client import AsyncClient
from services.client.local_gateway import free_port, tail, wait_until_serving
from tests.archives import write_tiny_archive
from tests.images.dockerfile import ROOT

TOOLS = ("buildah", "podman", "runc", "debootstrap", "tar")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.image,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.environ.get("IMAGE_TEST") != "1", reason="IMAGE_TEST is not 1"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap and chroot need root"),
]
BASE, IMAGE = "localhost/gantry-base:12", "localhost/gantry-gateway"
IDLE = "idle"
# What an image of Python leaves out of Debian as well.
UNNEEDED = ("usr/share/doc", "usr/share/locale", "var/cache", "var/lib/apt/lists")
MOST_BYTES = 350_000_000
STOP_SECONDS = 30.0
RESTRICTED = [
    *("--rm", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
    *("--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=512:512"),
]


@dataclass(frozen=True)
class Engine:
    """Buildah and podman with a storage of their own."""

    folder: Path

    def command(self, tool: str, *arguments: str | Path) -> list[str]:
        places = ["--storage-driver", "vfs", "--root", self.folder / "storage", "--runroot", self.folder / "run"]
        runtime = ["--runtime", "runc", "--cgroup-manager", "cgroupfs"] if tool == "podman" else []
        return [str(word) for word in (tool, *places, *runtime, *arguments)]

    def run(self, tool: str, *arguments: str | Path) -> str:
        done = subprocess.run(self.command(tool, *arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{tool} {arguments[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()

    def inside(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the idle container."""
        words = self.command("podman", "exec", IDLE, *command)
        return subprocess.run(words, capture_output=True, text=True, check=False)


def build_base(engine: Engine) -> None:
    """Make an image with Debian and its Python."""
    root = engine.folder / "debian"
    packages = "--include=ca-certificates,python3,python3-venv"
    with (engine.folder / "debootstrap.log").open("w") as log:
        subprocess.run(["debootstrap", "--variant=minbase", packages, "bookworm", root], stdout=log, check=True)
    for name in UNNEEDED:
        shutil.rmtree(root / name)
        (root / name).mkdir()
    packed = engine.folder / "debian.tar"
    subprocess.run(["tar", "-C", root, "-cf", packed, "."], check=True)
    engine.run("podman", "import", packed, BASE)


def pip_volumes(folder: Path) -> list[str]:
    """Let the build's pip find packages as this one does: hand it the same settings, and the files they name."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    pairs = re.findall(r"^(?::env:|global)\.([\w-]+)=(.*)$", listed, re.MULTILINE)
    options = {key: str(ast.literal_eval(value)) for key, value in pairs}
    (folder / "pip.conf").write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in options.items()))
    named = [Path(word.removeprefix("file://")) for word in " ".join(options.values()).split()]
    # The files of an index lie beside the pages that name them.
    paths = {path.parent if path.name == "simple" else path for path in named if path.is_absolute() and path.exists()}
    return [f"--volume={folder}/pip.conf:/etc/pip.conf:ro", *(f"--volume={path}:{path}:ro" for path in sorted(paths))]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The built image, and an idle container of it."""
    with tempfile.TemporaryDirectory(prefix="gantry-image-", ignore_cleanup_errors=True) as folder:
        engine = Engine(Path(folder))
        build_base(engine)
        arguments = ["--isolation", "chroot", "--target", "gateway", "--build-arg", f"BASE_IMAGE={BASE}"]
        # A gateway has no torch, so the index of torch need not be in reach.
        arguments += ["--build-arg", "TORCH_INDEX_URL=", *pip_volumes(engine.folder)]
        engine.run("buildah", "bud", *arguments, "--tag", IMAGE, ROOT)
        # One container for many commands, since a container has a copy of all files under vfs.
        engine.run("podman", "run", *RESTRICTED, "--detach", "--name", IDLE, "--entrypoint", "sleep", IMAGE, "infinity")
        try:
            yield engine
        finally:
            engine.run("podman", "rm", "--force", "--time", "0", IDLE)


def test_image_is_small(engine: Engine) -> None:
    assert int(engine.run("podman", "image", "inspect", "--format", "{{.Size}}", IMAGE)) < MOST_BYTES


def test_process_has_the_fixed_user_and_no_capability(engine: Engine) -> None:
    told = engine.inside("sh", "-c", "id -u; id -g; grep CapEff /proc/self/status").stdout.split()

    assert told == ["10001", "10001", "CapEff:", "0000000000000000"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("python", "-c", "import torch"), "No module named 'torch'"),
        (("python", "-m", "pip"), "No module named pip"),
        (("touch", "/app/file"), "Read-only file system"),
        (("sh", "-c", "ls /build"), "No such file or directory"),
        (("sh", "-c", "gcc || g++ || cc || c++"), "not found"),
    ],
)
def test_image_lacks(engine: Engine, command: tuple[str, ...], reason: str) -> None:
    done = engine.inside(*command)

    assert done.returncode != 0
    assert reason in done.stderr


def test_command_line_works(engine: Engine) -> None:
    done = engine.inside("gantry", "--help")

    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


@pytest.mark.torchserve
async def test_gateway_serves_and_ends_with_its_container(engine: Engine, tmp_path: Path) -> None:
    models = TorchServeProcess([write_tiny_archive(tmp_path)], workers=1, message_bytes=OWN_MESSAGE_BYTES)
    address, log = f"127.0.0.1:{free_port()}", tmp_path / "gateway.log"
    try:
        await models.start(60.0)
        settings = {
            "GANTRY_HOST": "127.0.0.1",
            "GANTRY_PORT": address.rpartition(":")[2],
            "GANTRY_METRICS_PORT": "0",
            "GANTRY_TORCHSERVE_ADDRESS": models.address,
            "GANTRY_TORCHSERVE_MANAGEMENT_ADDRESS": models.management_address,
        }
        variables = [f"--env={key}={value}" for key, value in settings.items()]
        with log.open("wb") as output:
            container = subprocess.Popen(
                engine.command("podman", "run", *RESTRICTED, *variables, IMAGE), stdout=output, stderr=output
            )
        try:
            wait_until_serving(address, container, log)
            async with grpc.aio.insecure_channel(address) as channel:
                health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            async with AsyncClient(address) as client:
                image = await client.sample("tiny", labels=[0])
        finally:
            container.terminate()  # podman hands it on
            code = container.wait(STOP_SECONDS)
    finally:
        await models.stop()

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert image
    assert code == 0, tail(log)
