"""Envelopes on a TorchServe, and one of the backend's own that ends: first by script, then the real one."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

from gantry.v1 import worker_pb2
from services.backends.base import BackendUnavailableError, ModelKey, WorkerLostError
from services.backends.envelope import Envelope
from services.backends.restarts import PAUSES
from services.backends.torchserve import api as torchserve_api
from services.backends.torchserve import process as torchserve_process
from services.backends.torchserve import roster as torchserve_roster
from services.backends.torchserve.api import DEFAULT_MESSAGE_BYTES
from services.backends.torchserve.backend import TorchServeBackend
from services.backends.torchserve.healing import Healing
from services.backends.torchserve.process import TorchServeProcess
from services.worker.archive import card_digest, open_archive
from services.worker.handler import ENVELOPE_FIELD
from services.worker.runner import Runner
from tests.archives import tiny_card
from tests.services.backends.torchserve.scripted import (
    DIED,
    KEY,
    PATIENCE_SECONDS,
    Answer,
    Rounds,
    ScriptedTorchServe,
    attached,
    backend_at,
    envelope_of,
    failing,
    kept,
    probe,
    showing,
)


async def test_envelope_goes_out_in_one_call_and_comes_back(tiny: Answer, runner: Runner) -> None:
    scripted = ScriptedTorchServe(tiny=tiny)
    async with attached(scripted) as backend:
        scripted.calls.clear()

        reply = await backend.run(KEY, Envelope(envelope_of(64), None))

        assert list(reply.results) == list(runner.run(envelope_of(64)).results)
        assert [call.model_version for call in scripted.calls] == ["1.0.0"]


async def test_envelope_whose_answer_could_be_too_large_goes_in_parts(
    tiny: Answer, runner: Runner, archive: Path
) -> None:
    """TorchServe kills a worker whose answer is over its limit, so there must be no such answer."""
    card = tiny_card()
    card.image.width = card.image.height = 1000

    scripted = ScriptedTorchServe(tiny=showing(tiny, card))
    async with attached(scripted) as backend:
        scripted.calls.clear()

        reply = await backend.run(KEY, Envelope(envelope_of(7), None))

        sent = [len(worker_pb2.WorkRequest.FromString(call.input[ENVELOPE_FIELD]).items) for call in scripted.calls]
        assert sent == [3, 3, 1]
        assert max(sent) * 2_000_000 < DEFAULT_MESSAGE_BYTES
        assert list(reply.results) == list(runner.run(envelope_of(7)).results)
        assert reply.run_seconds > 0
        assert reply.execution == "cpu-float32-eager"


async def test_envelope_whose_worker_died_is_lost_and_runs_no_second_time(tiny: Answer) -> None:
    """Whether it is run again, and with which neighbours, is the scheduler's to say."""
    scripted = ScriptedTorchServe(tiny=failing(tiny, DIED))
    async with attached(scripted) as backend:
        scripted.calls.clear()

        with pytest.raises(WorkerLostError, match="the worker died") as lost:
            await backend.run(KEY, Envelope(envelope_of(1), 10.0))

        assert lost.value.is_to_blame
        assert len(scripted.calls) == 1


async def test_envelope_whose_worker_was_replaced_for_another_is_not_to_blame(
    tiny: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def replace(_: Healing, __: object, calling: asyncio.Future[Any], ___: object) -> bool:
        await asyncio.wait({calling})
        return False

    monkeypatch.setattr(Healing, "see_through", replace)
    async with attached(ScriptedTorchServe(tiny=failing(tiny, DIED))) as backend:
        with pytest.raises(WorkerLostError, match="the worker died") as lost:
            await backend.run(KEY, Envelope(envelope_of(1), 10.0))

        assert not lost.value.is_to_blame


async def test_slot_is_taken_until_torchserve_answers_whoever_waits(
    tiny: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the REST API nothing can be done about a worker that hangs but to wait."""

    async def slow(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        if envelope.items:
            arrived.set()
            await answers.wait()
        return await tiny(envelope, context)

    arrived, answers, looks = asyncio.Event(), asyncio.Event(), Rounds()
    async with attached(ScriptedTorchServe(tiny=slow), looks=looks) as backend:
        running = asyncio.create_task(backend.run(KEY, Envelope(envelope_of(1), 0.05)))
        await looks.begun()
        await asyncio.wait_for(arrived.wait(), PATIENCE_SECONDS)
        assert looks.seconds == [2.0]
        looks.end()
        answers.set()

        assert len((await running).results) == 1
    assert caplog.messages == ["model tiny 1.0.0: a worker hangs; torchserve_rest_address is not set"]


async def test_workers_of_a_model_that_has_left_are_not_waited_for(tiny: Answer) -> None:
    scripted, rounds, looks, now = ScriptedTorchServe(tiny=failing(tiny, DIED)), Rounds(), Rounds(), [0.0]
    watched = attached(scripted, rounds=rounds, looks=looks, clock=lambda: now[0], rest_address="127.0.0.1:1")
    async with watched as backend, kept(backend, rounds):
        with pytest.raises(WorkerLostError):
            await backend.run(KEY, Envelope(envelope_of(1)))
        now[0] = 11.0
        with pytest.raises(BackendUnavailableError, match="are being replaced"):
            backend.check(KEY)
        del scripted.models["tiny"]

        await rounds.next()

        backend.check(KEY)


async def test_slots_are_the_workers_that_torchserve_tells_of(tiny: Answer) -> None:
    scripted, rounds = ScriptedTorchServe(tiny=tiny), Rounds()
    scripted.workers = 3
    async with attached(scripted, rounds=rounds) as backend, kept(backend, rounds):
        assert (backend.slots(KEY), backend.workers) == (3, None)
        scripted.workers = 2

        await rounds.next()

        assert backend.slots(KEY) == 2
        backend.check(KEY)


async def test_part_that_leaves_late_is_wanted_for_less_time(tiny: Answer) -> None:
    card = tiny_card()
    card.image.width = card.image.height = 1000
    scripted, envelope, times = ScriptedTorchServe(tiny=showing(tiny, card)), envelope_of(4), count(step=0.25)
    for item in envelope.items:
        item.wanted_seconds = 2.0
    async with attached(scripted, clock=lambda: next(times)) as backend:
        scripted.calls.clear()

        await backend.run(KEY, Envelope(envelope))

        sent = [worker_pb2.WorkRequest.FromString(call.input[ENVELOPE_FIELD]).items for call in scripted.calls]
        first, second = ({item.wanted_seconds for item in part} for part in sent)
        assert 2.0 > max(first) > max(second) > 0
        assert [item.wanted_seconds for item in envelope.items] == [2.0] * 4


async def test_torchserve_that_has_gone_is_unavailable(tiny: Answer) -> None:
    scripted = ScriptedTorchServe(tiny=tiny)
    async with attached(scripted) as backend:
        await scripted.server.stop(None)

        with pytest.raises(BackendUnavailableError, match="cannot be reached"):
            await backend.run(KEY, Envelope(envelope_of(1), 10.0))


async def test_store_that_is_no_folder_is_named(tmp_path: Path) -> None:
    backend = TorchServeBackend(model_store=tmp_path / "none", address=None, management_address="", workers=1)

    with pytest.raises(BackendUnavailableError, match="none is not a folder"):
        await backend.start()


class ScriptedProcess:
    """A TorchServe of the backend's own, which ends when the test says so."""

    lives: list["ScriptedProcess"]
    fault: str
    torchserve: ScriptedTorchServe

    def __init__(self, archives: Sequence[Path], *_: object) -> None:
        self.archives = archives
        self.rest_address = "unix:nowhere"
        self.has_stopped = self.was_killed = False
        self._end = asyncio.Event()
        self.lives.append(self)

    async def start(self, timeout: float) -> None:
        """Answer by the script, or fail."""
        if self.fault:
            raise BackendUnavailableError(self.fault)
        self.address = self.management_address = await self.torchserve.listen()

    async def ended(self) -> str:
        """Wait until the test ends it."""
        await self._end.wait()
        return "killed by signal 9"

    async def while_running(self, doing: Awaitable[bool]) -> bool:
        """It does not end meanwhile."""
        return await doing

    async def worker_processes(self) -> dict[str, bool]:
        """It has none."""
        return {}

    def kill(self) -> None:
        """Note it, and end."""
        self.was_killed = True
        self._end.set()

    async def end(self) -> None:
        """End it, as a kill does."""
        await self.torchserve.server.stop(None)
        self._end.set()

    async def stop(self) -> None:
        """Note it."""
        self.has_stopped = True

    def log_tail(self) -> str:
        """Return the end of its log."""
        return "the last line"


@pytest.fixture
def lives(tiny: Answer, monkeypatch: pytest.MonkeyPatch) -> list[ScriptedProcess]:
    """Every TorchServe that the backend has started."""
    monkeypatch.setattr(ScriptedProcess, "lives", [], raising=False)
    monkeypatch.setattr(ScriptedProcess, "fault", "", raising=False)
    monkeypatch.setattr(ScriptedProcess, "torchserve", ScriptedTorchServe(tiny=tiny), raising=False)
    monkeypatch.setattr(torchserve_process, "TorchServeProcess", ScriptedProcess)
    return ScriptedProcess.lives


@asynccontextmanager
async def owning(store: Path, rounds: Rounds, looks: Rounds | None = None) -> AsyncIterator[TorchServeBackend]:
    backend = TorchServeBackend(
        model_store=store,
        address=None,
        management_address="",
        workers=1,
        pause=rounds,
        look_pause=looks or Rounds(),
    )
    try:
        await backend.start()
        yield backend
    finally:
        await backend.stop()
        await ScriptedProcess.torchserve.server.stop(None)


async def test_torchserve_of_its_own_is_started_again(
    archive: Path, lives: list[ScriptedProcess], caplog: pytest.LogCaptureFixture
) -> None:
    rounds = Rounds()
    async with owning(archive.parent, rounds) as backend, kept(backend, rounds) as changes:
        first = await backend.run(KEY, Envelope(envelope_of(1), 10.0))
        await lives[0].end()
        await rounds.begun()

        assert rounds.seconds == [15.0, 0.0]
        assert changes == [1], "callers still find the model, and are told to come back"
        with pytest.raises(BackendUnavailableError, match="has ended and is started again") as raised:
            await backend.run(KEY, Envelope(envelope_of(1), 10.0))
        assert raised.value.retry_seconds == 5.0
        await rounds.next()

        assert [life.has_stopped for life in lives] == [True, False]
        assert lives[1].archives == lives[0].archives
        assert (await backend.run(KEY, Envelope(envelope_of(1), 10.0))).results == first.results
        assert "TorchServe has ended (killed by signal 9); its log ends:\nthe last line" in caplog.messages
        assert caplog.messages[-1] == "TorchServe runs again"
    assert all(life.has_stopped for life in lives)


async def test_model_that_is_slow_to_come_back_stays(
    archive: Path,
    lives: list[ScriptedProcess],
    tiny: Answer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def silent(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    rounds, slow = Rounds(), ModelKey("slow", "1.0.0")
    ScriptedProcess.torchserve.models["slow"] = showing(tiny, tiny_card("slow"))
    async with owning(archive.parent, rounds) as backend, kept(backend, rounds):
        # Only now: at the first start both are to come.
        monkeypatch.setattr(torchserve_roster, "PATIENCE", 0.0005)
        ScriptedProcess.torchserve.models["slow"] = silent
        await lives[0].end()
        await rounds.begun()
        await rounds.next()

        assert sorted(backend.models) == [slow, KEY]
        assert not backend.refused
        assert "models did not load; TorchServe's log ends:\nthe last line" in caplog.messages


async def test_model_that_is_back_serves_while_others_still_load(
    archive: Path, lives: list[ScriptedProcess], tiny: Answer
) -> None:
    rounds, slow, has_loaded = Rounds(), ModelKey("slow", "1.0.0"), asyncio.Event()
    sound = showing(tiny, tiny_card("slow"))

    async def loading(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        await has_loaded.wait()
        return await sound(envelope, context)

    ScriptedProcess.torchserve.models["slow"] = sound
    async with owning(archive.parent, rounds) as backend, kept(backend, rounds):
        has_returned = asyncio.Event()

        def look() -> None:
            with suppress(BackendUnavailableError):
                backend.check(KEY)
                has_returned.set()

        backend.on_change = look
        ScriptedProcess.torchserve.models["slow"] = loading
        await lives[0].end()
        await rounds.begun()
        rounds.end()
        await asyncio.wait_for(has_returned.wait(), PATIENCE_SECONDS)

        assert (await backend.run(KEY, Envelope(envelope_of(1), 10.0))).results[0].HasField("image")
        with pytest.raises(BackendUnavailableError, match="is started again"):
            backend.check(slow)
        has_loaded.set()
        await rounds.begun()
        backend.check(slow)


async def test_torchserve_that_ends_while_it_is_pinged_is_watched_again(
    archive: Path, lives: list[ScriptedProcess], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is closed under the ping."""
    monkeypatch.setattr(torchserve_api, "_CLOSE_SECONDS", 0.0)
    scripted, rounds, looks = ScriptedProcess.torchserve, Rounds(), Rounds()
    async with owning(archive.parent, rounds, looks) as backend, kept(backend, rounds):
        await looks.begun()
        scripted.is_mute = True
        looks.end()
        await asyncio.wait_for(scripted.pinged.wait(), PATIENCE_SECONDS)
        lives[0].kill()
        await rounds.begun()

        await looks.begun()
        assert "TorchServe does not answer, and is killed" not in caplog.messages
        scripted.is_mute = False
        await rounds.next()
        await looks.next()
        assert not lives[1].was_killed


async def test_torchserve_that_is_mute_is_killed_and_started_again(
    archive: Path, lives: list[ScriptedProcess], caplog: pytest.LogCaptureFixture
) -> None:
    rounds, looks = Rounds(), Rounds()
    async with owning(archive.parent, rounds, looks) as backend, kept(backend, rounds):
        await looks.begun()
        await looks.next()
        assert not lives[0].was_killed
        ScriptedProcess.torchserve.is_mute = True
        looks.end()
        await rounds.begun()

        assert lives[0].was_killed
        assert "TorchServe does not answer, and is killed" in caplog.messages
        with pytest.raises(BackendUnavailableError, match="is started again"):
            backend.check(KEY)
        ScriptedProcess.torchserve.is_mute = False
        await ScriptedProcess.torchserve.server.stop(None)
        await rounds.next()
        backend.check(KEY)
        assert looks.seconds == [1.0] * len(looks.seconds)


async def test_torchserve_that_does_not_start_again_is_given_up(
    archive: Path, lives: list[ScriptedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds()
    async with owning(archive.parent, rounds) as backend:
        keeping = asyncio.create_task(backend.keep())
        await rounds.begun()
        monkeypatch.setattr(ScriptedProcess, "fault", "no Java any more")
        await lives[0].end()
        for _ in range(len(PAUSES)):
            await rounds.next()
        rounds.end()

        with pytest.raises(BackendUnavailableError, match=r"killed by signal 9.*starting it again does not help"):
            await asyncio.wait_for(keeping, PATIENCE_SECONDS)

        assert rounds.seconds == [15.0, *PAUSES]
        assert len(lives) == 1 + len(PAUSES)
    assert all(life.has_stopped for life in lives)


async def test_stop_amid_a_restart_leaves_nothing(
    archive: Path, lives: list[ScriptedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        loading.set()
        await asyncio.Event().wait()
        raise AssertionError

    rounds, loading = Rounds(), asyncio.Event()
    async with owning(archive.parent, rounds) as backend:
        async with kept(backend, rounds):
            await lives[0].end()
            ScriptedProcess.torchserve.models["tiny"] = silent
            await rounds.begun()
            rounds.end()
            await asyncio.wait_for(loading.wait(), PATIENCE_SECONDS)
        assert [life.has_stopped for life in lives] == [True, False]
    assert [life.has_stopped for life in lives] == [True, True]


@pytest.mark.torchserve
async def test_running_torchserve_is_attached_to(
    process: TorchServeProcess, runner: Runner, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchserve_roster, "PATIENCE", 0.01)
    backend = backend_at(process.address, process.management_address)
    await backend.start()
    try:
        assert list(backend.models) == [KEY]
        assert backend.models[KEY].digest == card_digest(open_archive(archive).card_json)
        assert {refused.archive for refused in backend.refused} == {"broken 1.0.0", "strange 1.0"}
        await probe(backend, KEY)
        reply = await backend.run(KEY, Envelope(envelope_of(20), PATIENCE_SECONDS))
        assert list(reply.results) == list(runner.run(envelope_of(20)).results)
    finally:
        await backend.stop()

    assert psutil.pid_exists(process.pid), "a TorchServe that the backend did not start is not its to stop"


async def test_backend_waits_for_a_torchserve_that_comes_up_later(tiny: Answer) -> None:
    scripted = ScriptedTorchServe(tiny=tiny)
    # It keeps the port for the server, which shares it.
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        backend = backend_at(address, "127.0.0.1:1", names=("tiny",))
        starting = asyncio.create_task(backend.start())
        await asyncio.sleep(0)
        try:
            await scripted.listen(address)
            await starting
            assert list(backend.models) == [KEY]
        finally:
            await backend.stop()
            await scripted.server.stop(None)
