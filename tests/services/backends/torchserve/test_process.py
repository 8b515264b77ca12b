"""A TorchServe starts, stops without a trace, and says what it lacks."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from services.backends.base import BackendUnavailableError
from services.backends.torchserve import process as torchserve_process
from services.backends.torchserve.process import TorchServeProcess
from tests.archives import write_tiny_archive
from tests.waiting import still_runs

START_SECONDS = 180.0


def family_of(pid: int) -> list[psutil.Process]:
    """A frontend and its workers, which it may start only after it listens."""
    frontend, give_up = psutil.Process(pid), time.monotonic() + START_SECONDS
    while not (workers := frontend.children(recursive=True)):
        assert time.monotonic() < give_up, "it starts no worker"
        time.sleep(0.05)
    return [frontend, *workers]


@pytest.fixture
def java_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    return tmp_path


async def test_start_without_java_leaves_nothing(java_home: Path) -> None:
    process = TorchServeProcess([], workers=1, message_bytes=1 << 20)

    with pytest.raises(BackendUnavailableError, match="Java 17"):
        await process.start(timeout=1.0)

    await process.stop()


def test_dead_process_that_nobody_collects_is_not_waited_for() -> None:
    """As a frontend that is killed leaves its workers to the first process of a container."""
    leader = subprocess.Popen(["bash", "-c", "sleep 0 & exec sleep 60"], start_new_session=True)
    try:
        give_up = time.monotonic() + START_SECONDS
        while [child.status() for child in psutil.Process(leader.pid).children()] != [psutil.STATUS_ZOMBIE]:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        assert [process.pid for process in torchserve_process._group(leader.pid)] == [leader.pid]
    finally:
        leader.kill()
        leader.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can hold a port for another")
def test_held_ports_are_taken_but_for_a_server_that_reuses_addresses() -> None:
    """As gRPC's in Java does."""
    with torchserve_process._held_ports(2) as ports:
        for port in ports:
            with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
                other.bind(("127.0.0.1", port))
        servers = [socket.create_server(("127.0.0.1", port)) for port in ports]
    assert len(set(ports)) == 2
    for server in servers:
        with server, socket.create_connection(server.getsockname()):
            pass


@pytest.mark.torchserve
async def test_stopped_torchserve_leaves_no_process_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_tiny_archive(tmp_path).rename(tmp_path / "name, with = signs.mar")
    # Not under tmp_path: the paths of sockets must be short.
    with tempfile.TemporaryDirectory(prefix="g-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        process = TorchServeProcess([archive], workers=1, message_bytes=1 << 20)
        try:
            await process.start(timeout=START_SECONDS)
            family = family_of(process.pid)
            assert not any("hsperfdata" in mapped.path for mapped in family[0].memory_maps()), "it outlives a kill"
        finally:
            await process.stop()

        assert not any(still_runs(member) for member in family)
        assert not list(Path(folder).iterdir())


@pytest.mark.torchserve
async def test_stop_ends_what_a_killed_frontend_has_left_behind(tmp_path: Path) -> None:
    """Its workers do not notice."""
    process = TorchServeProcess([write_tiny_archive(tmp_path)], workers=1, message_bytes=1 << 20)
    try:
        await process.start(timeout=START_SECONDS)
        frontend, *workers = family_of(process.pid)
        frontend.kill()
        assert await process.ended() == "killed by signal 9"
    finally:
        await process.stop()

    assert not any(still_runs(worker) for worker in workers)


@pytest.mark.torchserve
async def test_torchserve_listens_on_loopback_alone(tmp_path: Path) -> None:
    process = TorchServeProcess([write_tiny_archive(tmp_path)], workers=1, message_bytes=1 << 20)
    await process.start(timeout=START_SECONDS)
    try:
        listening = {
            connection.laddr.ip
            for connection in psutil.Process(process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    finally:
        await process.stop()


@pytest.mark.torchserve
async def test_torchserve_that_ends_at_once_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchserve_process, "_JVM_HEAP", "-Xmx1g -no-such-option")
    process = TorchServeProcess([], workers=1, message_bytes=1 << 20)

    with pytest.raises(
        BackendUnavailableError, match=r"ended while it started \(exit code 1\):\n.*Invalid maximum heap size"
    ):
        await process.start(timeout=START_SECONDS)

    await process.stop()


@pytest.mark.torchserve
async def test_end_amid_something_is_told_before_what_comes_of_that(tmp_path: Path) -> None:
    async def kill() -> str:
        psutil.Process(process.pid).kill()
        # Threads of Java die one by one; this waits for the last, and leaves the end to be seen by others.
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        return "it could not be reached"

    process = TorchServeProcess([write_tiny_archive(tmp_path)], workers=1, message_bytes=1 << 20)
    try:
        await process.start(timeout=START_SECONDS)
        with pytest.raises(BackendUnavailableError, match=r"ended while it started \(killed by signal 9\)"):
            await process.while_running(kill())
    finally:
        await process.stop()


@pytest.mark.torchserve
async def test_workers_get_their_settings_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_EXECUTION", "of the gateway's own surroundings")
    monkeypatch.setenv("GANTRY_PORT", "1")
    process = TorchServeProcess([write_tiny_archive(tmp_path)], 1, message_bytes=1 << 20, execution="float32")
    await process.start(timeout=START_SECONDS)
    try:
        environment = psutil.Process(process.pid).environ()
        assert {name: value for name, value in environment.items() if name.startswith("GANTRY_")} == {
            "GANTRY_EXECUTION": "float32",
            "GANTRY_DEVICE": "cpu",
        }
    finally:
        await process.stop()


@pytest.mark.torchserve
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, of util-linux")
def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from services.backends.torchserve.process import TorchServeProcess
process = TorchServeProcess([Path(sys.argv[1])], 1, message_bytes=1 << 20)
asyncio.run(process.start(timeout=180.0))
print(process.pid, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(write_tiny_archive(tmp_path))]
    # Its own folder, since nobody is left to remove it; not under tmp_path: the paths of sockets must be short.
    with tempfile.TemporaryDirectory(prefix="g-") as folder:
        environment = os.environ | {"TMPDIR": folder}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as owner:
            assert owner.stdout
            family = family_of(int(next(owner.stdout)))
            owner.kill()
        _, left = psutil.wait_procs(family, timeout=60)
        assert not left
