"""Which models a TorchServe has: first one that answers by script, then the real one."""

import asyncio
import http.client
import shutil
import socket
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import grpc
import pytest

from gantry.v1 import worker_pb2
from services.backends.base import BackendUnavailableError, ModelKey
from services.backends.envelope import Envelope
from services.backends.torchserve import configuration
from services.backends.torchserve import roster as torchserve_roster
from services.backends.torchserve.api import DEFAULT_MESSAGE_BYTES, TorchServeApi
from services.backends.torchserve.process import TorchServeProcess
from services.worker.archive import card_digest, open_archive
from tests.archives import tiny_card, write_tiny_archive
from tests.services.backends.torchserve.scripted import (
    KEY,
    PATIENCE_SECONDS,
    Answer,
    Rounds,
    ScriptedTorchServe,
    attached,
    backend_at,
    card_json_of,
    envelope_of,
    failing,
    kept,
    probe,
    showing,
)


async def test_models_are_those_that_show_their_card(tiny: Answer, archive: Path) -> None:
    async def stranger(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        return b"\xff hello"

    async def broken(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        return await context.abort(grpc.StatusCode.UNAVAILABLE, "Prediction failed")  # type: ignore[no-any-return]

    async with attached(ScriptedTorchServe(tiny=tiny, alias=tiny, stranger=stranger, broken=broken)) as backend:
        assert list(backend.models) == [KEY]
        assert backend.models[KEY].digest == card_digest(open_archive(archive).card_json)
        refused = {refused.archive: refused.reason for refused in backend.refused}
        assert refused == {
            "alias 1.0.0": "it is registered under another name than its card's, tiny 1.0.0",
            "broken 1.0.0": "the worker failed on the envelope",
            "stranger 1.0.0": "the worker's answer is not an envelope",
        }


async def test_time_that_a_model_may_take_to_load_is_what_torchserve_tells_now(tiny: Answer) -> None:
    scripted, rounds = ScriptedTorchServe(tiny=tiny), Rounds()
    async with attached(scripted, rounds=rounds) as backend, kept(backend, rounds):
        assert backend._roster.served[KEY].startup_seconds == 120.0
        scripted.startup_seconds = 300

        await rounds.next()

        assert backend._roster.served[KEY].startup_seconds == 300.0


async def test_model_that_never_answers_does_not_hold_up_the_others(
    tiny: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(torchserve_roster, "PATIENCE", 0.0005)
    async with attached(ScriptedTorchServe(tiny=tiny, silent=silent)) as backend:
        assert list(backend.models) == [KEY]
        assert [(refused.archive, refused.reason) for refused in backend.refused] == [
            ("silent 1.0.0", "its worker did not load it in time")
        ]


async def test_model_whose_one_picture_could_be_too_large_is_refused(tiny: Answer) -> None:
    card = tiny_card()
    card.image.width = card.image.height = 4000

    async def huge(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        description = worker_pb2.WorkerDescription(card_json=card_json_of(card))
        return worker_pb2.WorkReply(description=description).SerializeToString()

    async with attached(ScriptedTorchServe(tiny=huge)) as backend:
        assert not backend.models
        assert "a picture may take 32004096 bytes" in backend.refused[0].reason


async def test_named_models_are_served_without_the_management_api(tiny: Answer) -> None:
    async def unknown(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.INTERNAL, "Model not found: gone")

    scripted = ScriptedTorchServe(tiny=tiny, gone=unknown)
    async with attached(scripted, names=("tiny", "gone")) as backend:
        assert list(backend.models) == [KEY]
        assert [(refused.archive, refused.reason) for refused in backend.refused] == [
            ("gone", "TorchServe does not have the model")
        ]
        await probe(backend, KEY)

    assert scripted.calls[0].model_version == ""
    assert scripted.calls[-1].model_version == "1.0.0"


async def test_models_that_come_and_go_are_noticed(tiny: Answer) -> None:
    scripted, rounds = ScriptedTorchServe(tiny=tiny, left=showing(tiny, tiny_card("left"))), Rounds()
    async with attached(scripted, rounds=rounds) as backend, kept(backend, rounds) as changes:
        del scripted.models["left"]
        scripted.models["new"] = showing(tiny, tiny_card("new"))
        with pytest.raises(BackendUnavailableError, match="does not have the model"):
            await backend.run(ModelKey("left", "1.0.0"), Envelope(envelope_of(1), 10.0))

        await rounds.next()

        assert sorted(backend.models) == [ModelKey("new", "1.0.0"), KEY]
        assert not backend.refused
        with pytest.raises(BackendUnavailableError, match="not loaded any more"):
            await backend.run(ModelKey("left", "1.0.0"), Envelope(envelope_of(1), 10.0))
        await probe(backend, ModelKey("new", "1.0.0"))
        await rounds.next()
        assert changes == [2], "where nothing changes nothing is told"
        assert set(rounds.seconds) == {15.0}


async def test_archive_that_is_replaced_is_noticed(tiny: Answer) -> None:
    scripted, rounds = ScriptedTorchServe(tiny=tiny), Rounds()
    async with attached(scripted, rounds=rounds) as backend, kept(backend, rounds) as changes:
        before = backend.models
        card = tiny_card()
        card.description = "trained for longer"
        scripted.models["tiny"] = showing(tiny, card)

        await rounds.next()

        assert backend.models[KEY].digest == card_digest(card_json_of(card)) != before[KEY].digest
        assert backend.models[KEY].card.description == "trained for longer"
        assert changes == [1]


async def test_what_makes_no_picture_does_not_join(tiny: Answer) -> None:
    """Else a broken archive would take a gateway that serves out of service."""
    sound, rounds = showing(tiny, tiny_card("new")), Rounds()
    scripted = ScriptedTorchServe(tiny=tiny)
    async with attached(scripted, rounds=rounds) as backend, kept(backend, rounds):
        scripted.models["new"] = failing(sound, (grpc.StatusCode.UNAVAILABLE, "Prediction failed"))
        scripted.models["stranger"] = showing(tiny, tiny_card("another-name"))
        await rounds.next()
        assert list(backend.models) == [KEY]
        assert [(refused.archive, refused.reason) for refused in backend.refused] == [
            ("new 1.0.0", "the worker failed on the envelope"),
            ("stranger 1.0.0", "it is registered under another name than its card's, another-name 1.0.0"),
        ]

        await rounds.next()

        assert sorted(backend.models) == [ModelKey("new", "1.0.0"), KEY]
        assert [refused.archive for refused in backend.refused] == ["stranger 1.0.0"]


async def test_archive_that_is_replaced_by_a_broken_one_leaves(tiny: Answer) -> None:
    scripted, rounds = ScriptedTorchServe(tiny=tiny), Rounds()
    async with attached(scripted, rounds=rounds) as backend, kept(backend, rounds):
        card = tiny_card()
        card.description = "broken"
        failure = grpc.StatusCode.UNAVAILABLE, "Prediction failed"
        scripted.models["tiny"] = failing(showing(tiny, card), failure)

        await rounds.next()

        assert not backend.models
        assert [refused.reason for refused in backend.refused] == ["the worker failed on the envelope"]


async def test_model_without_a_worker_is_not_waited_for(tiny: Answer) -> None:
    scripted, rounds = ScriptedTorchServe(tiny=tiny), Rounds()
    async with attached(scripted, rounds=rounds) as backend, kept(backend, rounds):
        scripted.models["new"] = showing(tiny, tiny_card("new"))
        scripted.worker_status = "UNLOADED"
        scripted.calls.clear()

        await rounds.next()

        assert [call.model_name for call in scripted.calls] == ["tiny"], "a model that serves shows that it still does"
        assert list(backend.models) == [KEY]
        assert [(refused.archive, refused.reason) for refused in backend.refused] == [
            ("new 1.0.0", "its worker did not load it in time")
        ]


async def test_nothing_leaves_because_nobody_answers(tiny: Answer, caplog: pytest.LogCaptureFixture) -> None:
    async def busy(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.INTERNAL, 'Model "tiny" has no worker to serve inference request.')
        raise AssertionError

    scripted, rounds = ScriptedTorchServe(tiny=tiny), Rounds()
    async with attached(scripted, rounds=rounds) as backend, kept(backend, rounds) as changes:
        before = backend.models
        scripted.models["tiny"] = busy
        await rounds.next()
        scripted.workers = None
        await rounds.next()
        await scripted.server.stop(None)
        await rounds.next()

        assert backend.models == before
        assert not changes
    assert caplog.messages.count("TorchServe could not be asked which models it has") == 1


async def test_management_api_that_does_not_answer_is_told_once_and_so_is_its_return(
    tiny: Answer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def silent(*_: object) -> None:
        raise BackendUnavailableError("no answer")

    rounds = Rounds()
    async with attached(ScriptedTorchServe(tiny=tiny), rounds=rounds) as backend, kept(backend, rounds):
        with monkeypatch.context() as unreachable:
            unreachable.setattr(TorchServeApi, "list_registered", silent)
            await rounds.next()
            await rounds.next()
        assert caplog.messages == ["models that come and go are not noticed: no answer"]

        await rounds.next()
        await rounds.next()
        assert caplog.messages[1:] == ["models that come and go are noticed again"]


async def test_new_version_of_a_named_model_is_noticed(tiny: Answer) -> None:
    """Without the management API, as where TorchServe's pods are replaced by those of another release."""
    newer, rounds = tiny_card(), Rounds()
    newer.version = "2.0.0"
    scripted = ScriptedTorchServe(tiny=tiny)
    async with attached(scripted, names=("tiny", "gone"), rounds=rounds) as backend, kept(backend, rounds):
        assert list(backend.models) == [KEY]
        scripted.version, scripted.models["tiny"] = "2.0.0", showing(tiny, newer)

        await rounds.next()

        assert list(backend.models) == [ModelKey("tiny", "2.0.0")]
        assert [refused.archive for refused in backend.refused] == ["gone"]


async def test_version_that_one_of_several_torchserves_still_has_stays(tiny: Answer) -> None:
    rounds = Rounds()
    scripted = ScriptedTorchServe(tiny=tiny)
    async with attached(scripted, names=("tiny",), rounds=rounds) as backend, kept(backend, rounds) as changes:
        # Asked without a version it is the old one that answers, asked for the old version the new one.
        scripted.version = "2.0.0"
        scripted.calls.clear()

        await rounds.next()

        assert {call.model_version for call in scripted.calls} == {"", "1.0.0"}
        assert list(backend.models) == [KEY]
        assert not changes


@pytest.mark.torchserve
async def test_models_of_a_running_torchserve_come_and_go(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration.CONFIG.replace("enable_model_api=false", "enable_model_api=true")
    monkeypatch.setattr(configuration, "CONFIG", config)
    monkeypatch.setattr(torchserve_roster, "_FOLLOW_SECONDS", PATIENCE_SECONDS)
    running, rounds, other = (
        TorchServeProcess([archive], 1, DEFAULT_MESSAGE_BYTES),
        Rounds(),
        ModelKey("other", "1.0.0"),
    )
    try:
        await running.start(timeout=180.0)
        backend = backend_at(running.address, running.management_address, rounds=rounds)
        await backend.start()
        async with kept(backend, rounds) as changes:
            shutil.copy(write_tiny_archive(tmp_path, "other"), running._folder / "store" / "other.mar")
            await asyncio.to_thread(manage, running, "POST", "/models?url=other.mar&initial_workers=1&synchronous=true")
            await rounds.next()
            assert sorted(backend.models) == [other, KEY]
            await probe(backend, other)

            await asyncio.to_thread(manage, running, "DELETE", "/models/tiny/1.0.0")
            await rounds.next()
            assert list(backend.models) == [other]
            assert not backend.refused
            assert changes == [2, 1]
        await backend.stop()
    finally:
        await running.stop()


def manage(process: TorchServeProcess, method: str, path: str) -> None:
    """Ask the management API over HTTP, which listens on a socket in the process's folder."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    with closing(connection):
        connection.sock.connect(str(process._folder / "management.sock"))
        connection.request(method, path)
        response = connection.getresponse()
        assert response.status == HTTPStatus.OK, response.read()
