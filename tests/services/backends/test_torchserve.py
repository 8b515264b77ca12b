"""TorchServe's answers and what is made of them: first a server that answers by script, then the real one."""

import asyncio
import json
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import json_format

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import IMAGE_FORMAT_PNG
from services.backends import torchserve
from services.backends.base import (
    BackendError,
    BackendFailedError,
    BackendTimeoutError,
    BackendUnavailableError,
    ModelKey,
)
from services.backends.torchserve import DEFAULT_MESSAGE_BYTES, TorchServeBackend, WorkerDiedError, error_of
from services.backends.torchserve_process import TorchServeProcess
from services.client.local_gateway import free_port
from services.worker.archive import card_digest, open_archive
from services.worker.handler import ENVELOPE_FIELD
from services.worker.runner import Runner
from tests.archives import tiny_card, write_tiny_archive
from torchserve import inference_pb2, inference_pb2_grpc, management_pb2, management_pb2_grpc
from training.archive import write_archive

KEY = ModelKey("tiny", "1.0.0")
DIED = (grpc.StatusCode.INTERNAL, "Worker died.\norg.pytorch.serve.http.InternalServerException")

Answer = Callable[[worker_pb2.WorkRequest, Any], Awaitable[bytes]]


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        ("INTERNAL", "Worker died.\norg.pytorch.serve.http.InternalServerException", WorkerDiedError),
        ("RESOURCE_EXHAUSTED", "Worker died.", WorkerDiedError),
        ("UNAVAILABLE", "Prediction failed\norg.pytorch.serve.X", BackendFailedError),
        ("UNAVAILABLE", "failed to connect to all addresses", BackendUnavailableError),
        ("INTERNAL", 'Model "m" has no worker to serve inference request. Please', BackendUnavailableError),
        ("INTERNAL", "Model not found: m", BackendFailedError),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", BackendTimeoutError),
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


class ScriptedTorchServe(
    inference_pb2_grpc.InferenceAPIsServiceServicer, management_pb2_grpc.ManagementAPIsServiceServicer
):
    """Both APIs of a TorchServe; what a model answers is up to the test."""

    def __init__(self, **models: Answer) -> None:
        """Give an answer per model name; all have version 1.0.0 and a response timeout of 60 s."""
        self.models = models
        self.response_seconds = 60
        self.calls: list[inference_pb2.PredictionsRequest] = []
        self.server: grpc.aio.Server

    async def Predictions(self, request: inference_pb2.PredictionsRequest, context: Any) -> Any:  # noqa: N802
        self.calls.append(request)
        envelope = worker_pb2.WorkRequest.FromString(request.input[ENVELOPE_FIELD])
        return inference_pb2.PredictionResponse(prediction=await self.models[request.model_name](envelope, context))

    async def ListModels(self, request: management_pb2.ListModelsRequest, context: Any) -> Any:  # noqa: N802
        """Answer one model a page."""
        page, names = request.next_page_token, sorted(self.models)
        told: dict[str, Any] = {"models": [{"modelName": name} for name in names[page : page + 1]]}
        if page + 1 < len(names):
            told["nextPageToken"] = str(page + 1)
        return management_pb2.ManagementResponse(msg=json.dumps(told))

    async def DescribeModel(self, request: management_pb2.DescribeModelRequest, context: Any) -> Any:  # noqa: N802
        versions = [{"modelVersion": "1.0.0", "responseTimeout": self.response_seconds, "startupTimeout": 120}]
        return management_pb2.ManagementResponse(msg=json.dumps(versions))


@asynccontextmanager
async def attached(scripted: ScriptedTorchServe, names: Sequence[str] = ()) -> AsyncIterator[TorchServeBackend]:
    server = grpc.aio.server()
    inference_pb2_grpc.add_InferenceAPIsServiceServicer_to_server(scripted, server)
    management_pb2_grpc.add_ManagementAPIsServiceServicer_to_server(scripted, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    scripted.server = server
    backend = backend_at(address, "127.0.0.1:1" if names else address, names=names)
    try:
        await backend.start()
        yield backend
    finally:
        await backend.stop()
        await server.stop(None)


def backend_at(
    address: str, management_address: str, start_seconds: float = 60.0, names: Sequence[str] = ()
) -> TorchServeBackend:
    return TorchServeBackend(
        model_store=Path("unused"),
        address=address,
        management_address=management_address,
        workers=1,
        names=names,
        start_seconds=start_seconds,
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_archive(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def runner(archive: Path) -> Runner:
    return Runner(open_archive(archive))


@pytest.fixture
def tiny(runner: Runner) -> Answer:
    """What a sound worker of the model answers."""

    async def answer(envelope: worker_pb2.WorkRequest, _: Any) -> bytes:
        return runner.run(envelope).SerializeToString()

    return answer


def failing(tiny: Answer, *failures: tuple[grpc.StatusCode, str]) -> Answer:
    """Answer as a sound worker to an envelope without items, and to others after these failures."""
    left = list(failures)

    async def answer(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        if envelope.items and left:
            await context.abort(*left.pop(0))
        return await tiny(envelope, context)

    return answer


def envelope_of(count: int) -> worker_pb2.WorkRequest:
    works = [worker_pb2.GenerateWork(seed=seed, condition=[1, 0, 0], truncation=1.0) for seed in range(count)]
    return worker_pb2.WorkRequest(items=[worker_pb2.WorkItem(generate=work, format=IMAGE_FORMAT_PNG) for work in works])


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


async def test_model_that_never_answers_does_not_hold_up_the_others(
    tiny: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(torchserve, "PATIENCE", 0.0005)
    async with attached(ScriptedTorchServe(tiny=tiny, silent=silent)) as backend:
        assert list(backend.models) == [KEY]
        assert [(refused.archive, refused.reason) for refused in backend.refused] == [
            ("silent 1.0.0", "its worker did not load it in time")
        ]


async def test_envelope_goes_out_in_one_call_and_comes_back(tiny: Answer, runner: Runner) -> None:
    scripted = ScriptedTorchServe(tiny=tiny)
    async with attached(scripted) as backend:
        scripted.calls.clear()

        reply = await backend.run(KEY, envelope_of(64), timeout=None)

        assert list(reply.results) == list(runner.run(envelope_of(64)).results)
        assert [call.model_version for call in scripted.calls] == ["1.0.0"]


async def test_envelope_whose_answer_could_be_too_large_goes_in_parts(
    tiny: Answer, runner: Runner, archive: Path
) -> None:
    """TorchServe kills a worker whose answer is over its limit, so there must be no such answer."""
    card = tiny_card()
    card.image.width = card.image.height = 1000

    async def large(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        reply = worker_pb2.WorkReply.FromString(await tiny(envelope, context))
        if not envelope.items:
            reply.description.card_json = card_json_of(card)
        return reply.SerializeToString()

    scripted = ScriptedTorchServe(tiny=large)
    async with attached(scripted) as backend:
        scripted.calls.clear()

        reply = await backend.run(KEY, envelope_of(7), timeout=None)

        sent = [len(worker_pb2.WorkRequest.FromString(call.input[ENVELOPE_FIELD]).items) for call in scripted.calls]
        assert sent == [3, 3, 1]
        assert max(sent) * 2_000_000 < DEFAULT_MESSAGE_BYTES
        assert list(reply.results) == list(runner.run(envelope_of(7)).results)
        assert reply.run_seconds > 0
        assert reply.execution == "cpu-float32-eager"


async def test_model_whose_one_picture_could_be_too_large_is_refused(tiny: Answer) -> None:
    card = tiny_card()
    card.image.width = card.image.height = 4000

    async def huge(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        description = worker_pb2.WorkerDescription(card_json=card_json_of(card))
        return worker_pb2.WorkReply(description=description).SerializeToString()

    async with attached(ScriptedTorchServe(tiny=huge)) as backend:
        assert not backend.models
        assert "a picture may take 32004096 bytes" in backend.refused[0].reason


async def test_envelope_runs_once_more_where_its_worker_died(tiny: Answer, runner: Runner) -> None:
    async with attached(ScriptedTorchServe(tiny=failing(tiny, DIED))) as backend:
        reply = await backend.run(KEY, envelope_of(2), timeout=10.0)

    assert list(reply.results) == list(runner.run(envelope_of(2)).results)


async def test_envelope_runs_no_third_time(tiny: Answer) -> None:
    scripted = ScriptedTorchServe(tiny=failing(tiny, DIED, DIED))
    async with attached(scripted) as backend:
        scripted.calls.clear()

        with pytest.raises(BackendUnavailableError, match="the worker died") as raised:
            await backend.run(KEY, envelope_of(1), timeout=10.0)

        # The gateway's table of errors goes by the exact type.
        assert type(raised.value) is BackendUnavailableError
        assert len(scripted.calls) == 2


async def test_worker_that_torchserve_killed_for_its_slowness_is_a_timeout(tiny: Answer) -> None:
    """TorchServe says that it died, and running it again would only take as long again."""
    scripted = ScriptedTorchServe(tiny=failing(tiny, DIED))
    scripted.response_seconds = 0
    async with attached(scripted) as backend:
        scripted.calls.clear()

        with pytest.raises(BackendTimeoutError, match="longer than TorchServe lets it"):
            await backend.run(KEY, envelope_of(1), timeout=10.0)

        assert len(scripted.calls) == 1


async def test_envelope_that_takes_too_long_is_a_timeout(tiny: Answer) -> None:
    async def slow(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        if envelope.items:
            await asyncio.Event().wait()
        return await tiny(envelope, context)

    async with attached(ScriptedTorchServe(tiny=slow)) as backend:
        with pytest.raises(BackendTimeoutError):
            await backend.run(KEY, envelope_of(1), timeout=0.05)


async def test_envelope_over_the_limit_is_not_sent(tiny: Answer) -> None:
    scripted = ScriptedTorchServe(tiny=tiny)
    async with attached(scripted) as backend:
        scripted.calls.clear()
        items = list(envelope_of(1).items)

        with pytest.raises(BackendFailedError, match=r"the envelope has \d+ bytes, TorchServe takes 6553500"):
            await backend._call(KEY, worker_pb2.WorkRequest(items=items * 300_000), timeout=10.0)

        assert not scripted.calls


async def test_torchserve_that_has_gone_is_unavailable(tiny: Answer) -> None:
    scripted = ScriptedTorchServe(tiny=tiny)
    async with attached(scripted) as backend:
        await scripted.server.stop(None)

        with pytest.raises(BackendUnavailableError, match="cannot be reached"):
            await backend.run(KEY, envelope_of(1), timeout=10.0)


async def test_torchserve_that_is_not_there_says_what_to_check() -> None:
    nowhere = "127.0.0.1:1"

    with pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1:1 did not answer .*; check that TorchServe runs"):
        await backend_at(nowhere, nowhere, start_seconds=0.2).start()


async def test_store_that_is_no_folder_is_named(tmp_path: Path) -> None:
    backend = TorchServeBackend(model_store=tmp_path / "none", address=None, management_address="", workers=1)

    with pytest.raises(BackendUnavailableError, match="none is not a folder"):
        await backend.start()


@pytest.fixture(scope="module")
def process(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServeProcess]:
    """A real TorchServe with a sound model, one whose graph is broken, and one of somebody else."""
    folder = tmp_path_factory.mktemp("odd")
    write_archive(folder / "broken.mar", tiny_card("broken"), {"model.pt2": b"no graph"})
    write_strange_archive(folder / "strange.mar")
    running = TorchServeProcess([archive, folder / "broken.mar", folder / "strange.mar"], 1, DEFAULT_MESSAGE_BYTES)
    asyncio.run(running.start(timeout=60.0))
    yield running
    asyncio.run(running.stop())


@pytest.mark.torchserve
async def test_running_torchserve_is_attached_to(
    process: TorchServeProcess, runner: Runner, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchserve, "PATIENCE", 0.01)
    backend = backend_at(process.address, process.management_address)
    await backend.start()
    try:
        assert list(backend.models) == [KEY]
        assert backend.models[KEY].digest == card_digest(open_archive(archive).card_json)
        assert {refused.archive for refused in backend.refused} == {"broken 1.0.0", "strange 1.0"}
        await backend.probe(KEY)
        reply = await backend.run(KEY, envelope_of(20), timeout=30.0)
        assert list(reply.results) == list(runner.run(envelope_of(20)).results)
    finally:
        await backend.stop()

    assert psutil.pid_exists(process.pid), "a TorchServe that the backend did not start is not its to stop"


async def test_named_models_are_served_without_the_management_api(tiny: Answer) -> None:
    async def unknown(envelope: worker_pb2.WorkRequest, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.INTERNAL, "Model not found: gone")

    scripted = ScriptedTorchServe(tiny=tiny, gone=unknown)
    async with attached(scripted, names=("tiny", "gone")) as backend:
        assert list(backend.models) == [KEY]
        assert [(refused.archive, refused.reason) for refused in backend.refused] == [
            ("gone", "the worker failed on the envelope")
        ]
        await backend.probe(KEY)

    assert scripted.calls[0].model_version == ""
    assert scripted.calls[-1].model_version == "1.0.0"


async def test_backend_waits_for_a_torchserve_that_comes_up_later(tiny: Answer) -> None:
    scripted, address = ScriptedTorchServe(tiny=tiny), f"127.0.0.1:{free_port()}"
    backend = backend_at(address, "127.0.0.1:1", names=("tiny",))
    starting = asyncio.create_task(backend.start())
    await asyncio.sleep(0)
    server = grpc.aio.server()
    inference_pb2_grpc.add_InferenceAPIsServiceServicer_to_server(scripted, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        await starting
        assert list(backend.models) == [KEY]
    finally:
        await backend.stop()
        await server.stop(None)


@pytest.mark.torchserve
async def test_killed_worker_costs_no_picture(
    process: TorchServeProcess, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchserve, "PATIENCE", 0.01)
    backend = backend_at(process.address, process.management_address)
    await backend.start()
    try:
        for worker in psutil.Process(process.pid).children(recursive=True):
            worker.kill()

        reply = await backend.run(KEY, envelope_of(3), timeout=60.0)

        assert list(reply.results) == list(runner.run(envelope_of(3)).results)
    finally:
        await backend.stop()


def card_json_of(card: models_pb2.ModelCard) -> bytes:
    card.execution.chunk_items, card.execution.max_batch_items = 8, 64
    return json_format.MessageToJson(card).encode()


def write_strange_archive(path: Path) -> None:
    """An archive that TorchServe loads and Gantry did not write: it answers every call with a greeting."""
    manifest = {"runtime": "python", "model": {"modelName": "strange", "handler": "handler.py", "modelVersion": "1.0"}}
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        mar.writestr("handler.py", "def handle(data, context):\n    return [b'hello'] * len(data or [])\n")
