"""Models in the workers of a TorchServe: one that runs already, or one of the gateway's own, which is kept running.

A model counts as loaded only once its worker has shown its card. TorchServe is asked again and again which models it
has, and one of the gateway's own is started again when it ends; so the models may change while the gateway runs.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import Backend, BackendUnavailableError, ModelKey, WorkerLostError
from services.backends.envelope import Envelope, age, left_unrun
from services.backends.restarts import Restarts
from services.backends.store import open_model_store
from services.backends.torchserve.api import (
    DEFAULT_MESSAGE_BYTES,
    OWN_MESSAGE_BYTES,
    ModelUnknownError,
    TorchServeApi,
    WorkerDiedError,
)
from services.backends.torchserve.healing import Healing, limit_of
from services.backends.torchserve.parts import cut
from services.backends.torchserve.rest import RestApi
from services.backends.torchserve.roster import Roster, Served
from services.worker.execution import Device, Execution
from services.worker.inputs import PICTURE, takes

if TYPE_CHECKING:
    from services.backends.torchserve.process import TorchServeProcess

# Java starts, and workers load, in five to twenty seconds: a caller that retries three times gets through.
_RESTART_RETRY_SECONDS = 5.0
# How often a TorchServe of its own and its workers are looked at, and how long it may take to answer a ping, twice.
_LOOK_SECONDS = 1.0
_PING_SECONDS = 2.0
# A part of an envelope that leaves so much later than the envelope.
_NOTABLE_WAIT_SECONDS = 0.01

_log = logging.getLogger(__name__)


class TorchServeBackend(Backend):
    """Runs envelopes on a TorchServe: one that runs already, or one of its own.

    Attributes:
        address: host:port of its gRPC inference API; None before `start` has started one.
        management_address: host:port of its gRPC management API.
    """

    name = "torchserve"

    def __init__(
        self,
        *,
        model_store: Path,
        address: str | None,
        management_address: str,
        workers: int,
        execution: Execution = "auto",
        device: Device = "cpu",
        names: Sequence[str] = (),
        rest_address: str | None = None,
        message_bytes: int = DEFAULT_MESSAGE_BYTES,
        start_seconds: float = 600.0,
        follow_seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        look_pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Keep the settings; `start` does the work.

        Args:
            model_store: Folder of `.mar` files for a TorchServe of its own.
            address: host:port of the gRPC inference API of one that runs; None to start one.
            management_address: host:port of its gRPC management API; only asked which models there are.
            workers: Worker processes per model, in a TorchServe of its own and where `names` are given.
            execution: The precision of the models in a TorchServe of its own, or "auto"; see
                `services.worker.execution`.
            device: Where these models run.
            names: The models of one that runs, newest version each; its management API is then not asked.
            rest_address: host:port of the REST management API of one that runs; without it no worker is replaced.
            message_bytes: The most bytes that one that runs takes and gives.
            start_seconds: How long `start` waits for TorchServe, and for its workers to load their models.
            follow_seconds: Pause before TorchServe is asked again which models it has.
            clock: Monotonic seconds, by which a TorchServe of its own is started again.
            pause: Lets a number of seconds pass on that clock, between two rounds of `keep`.
            look_pause: The same for calls under way, and between two looks at a TorchServe of its own.
        """
        self._model_store, self._workers = model_store, workers
        self._execution, self._device = execution, device
        self._message_bytes = message_bytes
        self._start_seconds, self._follow_seconds = start_seconds, follow_seconds
        self._clock, self._pause, self._look_pause = clock, pause, look_pause
        self.address, self.management_address = address, management_address
        self._starts_its_own = address is None
        self._process: TorchServeProcess | None = None
        self._api: TorchServeApi | None = None
        self._is_down = False
        self._healing = self._make_healing(RestApi(rest_address) if rest_address else None)
        self._roster = Roster(
            names,
            start_seconds,
            self._run,
            lambda: self.on_change(),
            lambda served: self._healing.look_after(served),
            workers=workers,
            is_own=address is None,
        )

    @property
    def models(self) -> Mapping[ModelKey, models_pb2.LoadedModel]:
        """The models whose workers have answered."""
        return {key: served.loaded for key, served in self._roster.served.items()}

    @property
    def refused(self) -> Sequence[models_pb2.RefusedArchive]:
        """The archives that were refused, and the models that did not answer as a Gantry model does."""
        return self._roster.refused

    async def start(self) -> None:
        """Start a TorchServe where none was named, and ask every model for its card.

        Raises:
            BackendUnavailableError: TorchServe cannot be started or reached; the message says what to check.
        """
        try:
            await self._open()
        except BaseException:
            await self.stop()
            raise

    async def keep(self) -> None:
        """Follow which models there are, watch TorchServe and its workers, and start one of its own again when it ends.

        Raises:
            BackendUnavailableError: It has ended, or did not start, too often in a row.
        """
        restarts = Restarts(self._clock)
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                if end := await self._end_within(self._follow_seconds):
                    await self._revive(restarts, end)
                elif self._api is not None:
                    await self._roster.follow(self._api)
                    # Every time: a call of a model that has left may have lost its worker since.
                    self._healing.follow(self._roster.served)
        finally:
            watching.cancel()

    def slots(self, key: ModelKey) -> int:
        """Return the most envelopes of a model at once: as many as it has workers.

        Args:
            key: A key of `models`.
        """
        served = self._roster.served.get(key)
        return self._healing.slots(served) if served else 1

    def check(self, key: ModelKey) -> None:
        """Refuse work that cannot be run now.

        Args:
            key: A key of `models`.

        Raises:
            BackendUnavailableError: TorchServe is down, or was and the model is not back yet, or the model has had no
                worker for long.
        """
        if self._is_down and key not in self._roster.back:
            raise BackendUnavailableError("TorchServe has ended and is started again", _RESTART_RETRY_SECONDS)
        self._healing.check(key)

    async def run(self, key: ModelKey, envelope: Envelope) -> worker_pb2.WorkReply:
        """Run one envelope; in parts where the answer could be more than TorchServe lets through.

        It ends when TorchServe has answered, whoever awaits that. A worker that takes too long is replaced, where it
        can be, which ends the call.

        Args:
            key: A key of `models`.
            envelope: The envelope.

        Returns:
            One result per item, in order.

        Raises:
            BackendUnavailableError: TorchServe is down, the model has no worker or is not there any more.
            BackendFailedError: The worker failed on the envelope.
            WorkerLostError: The worker ended with it, or was killed because it took too long.
        """
        self.check(key)
        if (served := self._roster.served.get(key)) is None:
            raise BackendUnavailableError("the model is not loaded any more")
        return await self._run(served, envelope)

    async def stop(self) -> None:
        """Close the connection, and stop the TorchServe that was started last."""
        await self._healing.stop()
        if self._api is not None:
            await self._api.close()
        if self._process is not None:
            await self._process.stop()

    def _make_healing(self, rest: RestApi | None) -> Healing:
        return Healing(rest, self._process, self._clock, self._look_pause, lambda reason: self.on_worker_lost(reason))

    async def _open(self) -> None:
        """Start a TorchServe where none was named, connect to it, and learn its models."""
        if self._starts_its_own:
            await self._start_own()
        self._api = TorchServeApi(self.address or "", self.management_address, self._message_bytes)
        learning = self._roster.learn(self._api)
        if self._process is None:
            await learning
        elif not await self._process.while_running(learning):
            _log.warning("models did not load; TorchServe's log ends:\n%s", self._process.log_tail())

    async def _start_own(self) -> None:
        """Start a TorchServe with the sound archives that the store has now."""
        if not self._model_store.is_dir():
            raise BackendUnavailableError(f"model store: {self._model_store} is not a folder")
        try:
            from services.backends.torchserve.process import TorchServeProcess
        except ImportError as error:
            raise BackendUnavailableError(f"{error}; pip install 'gantry[torchserve]'") from error
        archives, refused = await asyncio.to_thread(open_model_store, self._model_store)
        self._roster.note_store(archives, refused)
        self._process = TorchServeProcess(
            list(archives.values()), self._workers, OWN_MESSAGE_BYTES, self._execution, self._device
        )
        await self._process.start(self._start_seconds)
        self.address, self.management_address = self._process.address, self._process.management_address
        self._message_bytes = OWN_MESSAGE_BYTES
        self._healing = self._make_healing(RestApi(self._process.rest_address))
        _log.info("started TorchServe, gRPC on %s", self.address)

    async def _end_within(self, seconds: float) -> str:
        """Let some seconds pass; return how a TorchServe of its own ended, as soon as it does."""
        if self._process is None:
            await self._pause(seconds)
            return ""
        end, pause = asyncio.create_task(self._process.ended()), asyncio.ensure_future(self._pause(seconds))
        try:
            await asyncio.wait({end, pause}, return_when=asyncio.FIRST_COMPLETED)
            return end.result() if end.done() else ""
        finally:
            end.cancel()
            pause.cancel()

    async def _revive(self, restarts: Restarts, end: str) -> None:
        """Start a TorchServe again that has ended, with growing pauses where it does not stay up."""
        _log.error(
            "TorchServe has ended (%s); its log ends:\n%s", end, self._process.log_tail() if self._process else ""
        )
        self._is_down = True
        self._roster.note_end()
        while (seconds := restarts.next_pause()) is not None:
            await self.stop()
            await self._pause(seconds)
            try:
                await self._open()
            except (BackendUnavailableError, OSError) as error:
                _log.error("TorchServe did not start again: %s", error)
                self._roster.note_end()
                continue
            restarts.note_start()
            self._is_down = False
            _log.warning("TorchServe runs again")
            self.on_change()
            return
        raise BackendUnavailableError(f"TorchServe has ended ({end}), and starting it again does not help")

    async def _run(self, served: Served, envelope: Envelope) -> worker_pb2.WorkReply:
        departed = self._clock()
        await self._healing.healed(served.key, envelope.seconds_wanted)
        began = self._clock()
        limit = limit_of(envelope, began - departed)
        replies = []
        for part in await self._cut(envelope.request, served.loaded.card):
            if isinstance(part, worker_pb2.WorkReply):
                replies.append(part)
            elif envelope.is_deserted:
                replies.append(left_unrun(len(part.items)))
            else:
                if (waited := self._clock() - departed) >= _NOTABLE_WAIT_SECONDS:
                    age(part.items, waited)
                left = None if limit is None else limit - (self._clock() - began)
                replies.append(await self._call(served, part, left))
        if len(replies) == 1:
            return replies[0]
        return worker_pb2.WorkReply(
            results=[result for reply in replies for result in reply.results],
            run_seconds=sum(reply.run_seconds for reply in replies),
            encode_seconds=sum(reply.encode_seconds for reply in replies),
            execution=max((reply.execution for reply in replies), default=""),
        )

    async def _cut(
        self, request: worker_pb2.WorkRequest, card: models_pb2.ModelCard
    ) -> list[worker_pb2.WorkRequest | worker_pb2.WorkReply]:
        def parts() -> list[worker_pb2.WorkRequest | worker_pb2.WorkReply]:
            return list(cut(request.items, card.image, self._message_bytes))

        # Reading the headers of pictures is not for the event loop; all else takes less time than a thread.
        return await asyncio.to_thread(parts) if takes(card, PICTURE) else parts()

    async def _call(self, served: Served, request: worker_pb2.WorkRequest, limit: float | None) -> worker_pb2.WorkReply:
        assert self._api is not None
        calling = asyncio.create_task(self._api.call(served.key, request, None))
        try:
            is_to_blame = await self._healing.see_through(served, calling, limit)
            return calling.result()
        except WorkerDiedError as death:
            self._healing.note_lost(served)
            raise WorkerLostError(str(death), is_to_blame=is_to_blame) from death
        except ModelUnknownError as error:
            raise BackendUnavailableError(str(error)) from error
        finally:
            calling.cancel()

    async def _watch(self) -> None:
        """Find out what TorchServe does not: that it is stopped or mute itself, or that a worker is."""
        while self._process is not None:
            await self._look_pause(_LOOK_SECONDS)
            if self._is_down or self._api is None:
                continue
            answers = await self._api.ping(_PING_SECONDS) or await self._api.ping(_PING_SECONDS)
            if self._is_down:
                # Its end was noticed meanwhile, and the connection closed.
                continue
            if not answers:
                _log.error("TorchServe does not answer, and is killed")
                self.on_worker_lost("silent")
                self._process.kill()
            try:
                await self._healing.look(self._roster.served.values())
            except Exception:
                # Watching must outlive whatever becomes of processes.
                _log.exception("TorchServe's workers could not be looked at")
