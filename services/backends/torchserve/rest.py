"""TorchServe's REST management API, which alone can take all workers from a model."""

import asyncio
import http.client
import json
import socket
from contextlib import closing
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from services.backends.base import BackendUnavailableError, ModelKey

# It answers in a few milliseconds, but for a Java process that is stopped.
_ANSWER_SECONDS = 5.0


class WorkerStatus(NamedTuple):
    """What TorchServe tells of a worker.

    Attributes:
        id: Its number, which no other worker of this TorchServe had before.
        is_ready: Whether it takes calls.
    """

    id: str
    is_ready: bool


class RestApi:
    """The REST management API of a TorchServe."""

    def __init__(self, address: str) -> None:
        """Keep the address.

        Args:
            address: host:port, or unix:PATH of a socket.
        """
        self._address = address

    async def workers(self, key: ModelKey) -> list[WorkerStatus]:
        """Ask which workers a model has.

        Args:
            key: The model.

        Raises:
            BackendUnavailableError: There was no answer, or none that tells, or TorchServe does not have the model.
        """
        answer = await self._ask("GET", _path(key))
        try:
            (model,) = answer
            return [WorkerStatus(worker["id"], worker["status"] == "READY") for worker in model["workers"]]
        except (KeyError, TypeError, ValueError) as error:
            raise BackendUnavailableError(
                f"TorchServe's REST management API at {self._address} did not say which workers {' '.join(key)} has"
            ) from error

    async def scale(self, key: ModelKey, workers: int) -> None:
        """Set how many workers a model has; those that are too many are killed, those that come load it later.

        Args:
            key: The model.
            workers: How many.

        Raises:
            BackendUnavailableError: There was no answer, or TorchServe does not have the model.
        """
        wait = "true" if workers == 0 else "false"
        await self._ask("PUT", f"{_path(key)}?min_worker={workers}&max_worker={workers}&synchronous={wait}")

    async def _ask(self, method: str, path: str) -> Any:
        try:
            return await asyncio.to_thread(self._ask_now, method, path)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BackendUnavailableError(
                f"TorchServe's REST management API at {self._address} did not answer ({error})"
            ) from error

    def _ask_now(self, method: str, path: str) -> Any:
        with closing(self._connect()) as connection:
            connection.request(method, path)
            response = connection.getresponse()
            answer = response.read()
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise ValueError(f"status {response.status} to {method} {path}")
        return json.loads(answer)

    def _connect(self) -> http.client.HTTPConnection:
        if not self._address.startswith("unix:"):
            return http.client.HTTPConnection(self._address, timeout=_ANSWER_SECONDS)
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(_ANSWER_SECONDS)
        connection.sock.connect(self._address.removeprefix("unix:"))
        return connection


def _path(key: ModelKey) -> str:
    return f"/models/{quote(key.name, safe='')}/{quote(key.version, safe='')}"
