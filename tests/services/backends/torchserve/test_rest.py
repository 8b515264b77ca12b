"""What is asked of TorchServe's REST management API, and what its answers mean."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from services.backends.base import BackendUnavailableError, ModelKey
from services.backends.torchserve.rest import RestApi, WorkerStatus

KEY = ModelKey("tiny model", "1.0.0")


class Management(BaseHTTPRequestHandler):
    """Answers as TorchServe does, and notes what it is asked."""

    asked: list[str]
    status = 200
    answer: object = None

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        body = json.dumps(self.answer).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def management(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[type[Management], RestApi]]:
    monkeypatch.setattr(Management, "asked", [], raising=False)
    for name in ("status", "answer"):
        monkeypatch.setattr(Management, name, getattr(Management, name))
    with HTTPServer(("127.0.0.1", 0), Management) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield Management, RestApi(f"127.0.0.1:{server.server_port}")
        server.shutdown()


async def test_workers_are_told_with_their_state(management: tuple[type[Management], RestApi]) -> None:
    told, rest = management
    told.answer = [{"workers": [{"id": "9000", "status": "READY"}, {"id": "9001", "status": "UNLOADING"}]}]

    assert await rest.workers(KEY) == [WorkerStatus("9000", is_ready=True), WorkerStatus("9001", is_ready=False)]
    assert told.asked == ["GET /models/tiny%20model/1.0.0"]


async def test_scaling_waits_for_the_end_of_workers_and_not_for_their_start(
    management: tuple[type[Management], RestApi],
) -> None:
    told, rest = management

    await rest.scale(KEY, 0)
    await rest.scale(KEY, 2)

    path = "PUT /models/tiny%20model/1.0.0?"
    assert told.asked == [
        f"{path}min_worker=0&max_worker=0&synchronous=true",
        f"{path}min_worker=2&max_worker=2&synchronous=false",
    ]


async def test_refusal_names_what_was_asked(management: tuple[type[Management], RestApi]) -> None:
    told, rest = management
    told.status = 404

    with pytest.raises(BackendUnavailableError, match=r"did not answer \(status 404 to GET /models/tiny%20model/1"):
        await rest.workers(KEY)


@pytest.mark.parametrize(
    "answer", [[], None, {"code": 500}, [{}], [{"workers": None}], [{"workers": [{"id": "9000"}]}], ["tiny"]]
)
async def test_answer_that_does_not_tell_of_workers_is_none(
    management: tuple[type[Management], RestApi], answer: object
) -> None:
    told, rest = management
    told.answer = answer

    with pytest.raises(BackendUnavailableError, match=r"did not say which workers tiny model 1\.0\.0 has"):
        await rest.workers(KEY)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "unix:/nowhere/management.sock"])
async def test_api_that_is_not_there_is_named(address: str) -> None:
    with pytest.raises(BackendUnavailableError, match=f"REST management API at {address} did not answer"):
        await RestApi(address).workers(KEY)
