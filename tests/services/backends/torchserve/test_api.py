"""What TorchServe's answers mean."""

import asyncio
from typing import Any

import grpc
import pytest

from gantry.v1 import worker_pb2
from services.backends.base import BackendError, BackendFailedError, BackendUnavailableError
from services.backends.torchserve import api as torchserve_api
from services.backends.torchserve.api import (
    DEFAULT_MESSAGE_BYTES,
    ModelUnknownError,
    TorchServeApi,
    WorkerDiedError,
    error_of,
)
from tests.services.backends.torchserve.scripted import (
    KEY,
    PATIENCE_SECONDS,
    Answer,
    ScriptedTorchServe,
    backend_at,
    envelope_of,
)


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        ("INTERNAL", "Worker died.\norg.pytorch.serve.http.InternalServerException", WorkerDiedError),
        ("RESOURCE_EXHAUSTED", "Worker died.", WorkerDiedError),
        ("UNAVAILABLE", "Prediction failed\norg.pytorch.serve.X", BackendFailedError),
        ("UNAVAILABLE", "failed to connect to all addresses", BackendUnavailableError),
        ("INTERNAL", 'Model "m" has no worker to serve inference request. Please', BackendUnavailableError),
        ("INTERNAL", "Model not found: m\norg.pytorch.serve.X", ModelUnknownError),
        ("INTERNAL", "Model version: 2 does not exist for model: m\norg.pytorch.serve.X", ModelUnknownError),
        ("PERMISSION_DENIED", "Token Authorization failed.", BackendUnavailableError),
        ("UNAUTHENTICATED", "", BackendUnavailableError),
        ("CANCELLED", "RST_STREAM closed stream. HTTP/2 error code: CANCEL", BackendFailedError),
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max", BackendFailedError),
        ("UNKNOWN", "", BackendFailedError),
    ],
)
def test_status_becomes_the_error_that_it_means(code: str, details: str, expected: type[BackendError]) -> None:
    error = error_of(grpc.StatusCode[code], details)

    assert type(error) is expected
    assert "pytorch" not in str(error)
    assert "m" not in str(error).split()


async def test_envelope_over_the_limit_is_not_sent(tiny: Answer) -> None:
    scripted = ScriptedTorchServe(tiny=tiny)
    address = await scripted.listen()
    api, items = TorchServeApi(address, address, DEFAULT_MESSAGE_BYTES), list(envelope_of(1).items)
    try:
        with pytest.raises(BackendFailedError, match=r"the envelope has \d+ bytes, TorchServe takes 6553500"):
            await api.call(KEY, worker_pb2.WorkRequest(items=items * 300_000), timeout=None)

        assert not scripted.calls
    finally:
        await api.close()
        await scripted.server.stop(None)


async def test_calls_of_a_connection_that_is_closed_are_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where TorchServe is started again, a call may still be on its way, and another about to begin."""

    async def silent(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(torchserve_api, "_CLOSE_SECONDS", 0.0)
    scripted, arrived = ScriptedTorchServe(tiny=silent), asyncio.Event()
    address = await scripted.listen()
    api = TorchServeApi(address, address, 1 << 20)
    under_way, given_up = (
        asyncio.create_task(api.call(KEY, envelope_of(1), timeout=PATIENCE_SECONDS)) for _ in range(2)
    )
    try:
        await asyncio.wait_for(arrived.wait(), PATIENCE_SECONDS)
        given_up.cancel()
        await api.close()
        with pytest.raises(BackendUnavailableError, match="was closed"):
            await under_way
        with pytest.raises(asyncio.CancelledError):
            await given_up
        with pytest.raises(BackendUnavailableError, match="was closed"):
            await api.call(KEY, envelope_of(1), timeout=PATIENCE_SECONDS)
    finally:
        await scripted.server.stop(None)


async def test_ping_of_a_connection_that_is_closed_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchserve_api, "_CLOSE_SECONDS", 0.0)
    scripted = ScriptedTorchServe()
    scripted.is_mute = True
    address = await scripted.listen()
    api = TorchServeApi(address, address, 1 << 20)
    under_way, given_up = (asyncio.create_task(api.ping(PATIENCE_SECONDS)) for _ in range(2))
    try:
        await asyncio.wait_for(scripted.pinged.wait(), PATIENCE_SECONDS)
        given_up.cancel()
        await api.close()

        assert not await under_way
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert not await api.ping(PATIENCE_SECONDS)
    finally:
        await scripted.server.stop(None)


async def test_torchserve_that_is_not_there_says_what_to_check() -> None:
    nowhere = "127.0.0.1:1"

    with pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1:1 did not answer .*; check that TorchServe runs"):
        await backend_at(nowhere, nowhere, start_seconds=0.2).start()
