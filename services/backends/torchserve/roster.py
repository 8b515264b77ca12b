"""The models of a TorchServe: which it has, which of them show their card, and why the others do not serve."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gantry.v1 import models_pb2, worker_pb2
from services.backends.base import BackendError, BackendUnavailableError, ModelKey, try_out
from services.backends.envelope import Envelope
from services.backends.torchserve.api import ModelUnknownError, Registered, TorchServeApi
from services.backends.torchserve.parts import OVERHEAD_BYTES, picture_bytes
from services.worker.archive import ArchiveError, card_digest, parse_card

# Workers load side by side, so one that is so long behind all the others is not coming: a share of the time that
# TorchServe gives it, which is longer where graphs are compiled.
PATIENCE = 0.4
# The first calls of a Java frontend take several times as long as later ones.
_WARM_UP_CALLS = 100
# How long a TorchServe that serves has to say which models it has, and each of them to show its card.
_FOLLOW_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A model that has shown its card.

    Attributes:
        loaded: What the gateway shows of it.
        workers: How many workers it is to have.
        startup_seconds: What they are given to load it.
    """

    loaded: models_pb2.LoadedModel
    workers: int
    startup_seconds: float

    @property
    def key(self) -> ModelKey:
        """What its card calls it."""
        return ModelKey(self.loaded.card.name, self.loaded.card.version)

    @property
    def registered(self) -> Registered:
        """What TorchServe told of it, with all its workers ready."""
        return Registered(self.startup_seconds, self.workers, self.workers)


class Roster:
    """The models that serve, and those that do not.

    Attributes:
        served: Those that have shown their card.
        back: Those of them that have shown it since TorchServe was started last.
    """

    def __init__(
        self,
        names: Sequence[str],
        start_seconds: float,
        run: Callable[[Served, Envelope], Awaitable[worker_pb2.WorkReply]],
        on_change: Callable[[], None],
        on_lack: Callable[[Served], None],
        *,
        workers: int,
        is_own: bool,
    ) -> None:
        """Begin with none.

        Args:
            names: The models to ask, newest version each; where there are none, the management API tells which.
            start_seconds: The most seconds to wait for TorchServe, and for its workers to load their models.
            run: Runs an envelope on a model.
            on_change: Called when other models serve than before, or others do not.
            on_lack: Called with a model that has fewer workers than it is to have.
            workers: How many workers each of the named models has.
            is_own: Whether TorchServe is the gateway's own, which is warmed up.
        """
        self._names, self._start_seconds, self._run = names, start_seconds, run
        self._on_change, self._on_lack, self._workers, self._is_own = on_change, on_lack, workers, is_own
        self.served: Mapping[ModelKey, Served] = {}
        self.back: set[ModelKey] = set()
        # Whether TorchServe told which models it has when it was asked last.
        self._is_heard = True
        self._archives: Mapping[ModelKey, Path] = {}
        # What the store refused, and what is registered and does not serve: reasons by archive or model.
        self._refused_files: Sequence[models_pb2.RefusedArchive] = ()
        self._refused_models: Mapping[str, str] = {}

    @property
    def refused(self) -> Sequence[models_pb2.RefusedArchive]:
        """The archives that were refused, and the models that did not answer as a Gantry model does."""
        models = (models_pb2.RefusedArchive(archive=name, reason=why) for name, why in self._refused_models.items())
        return sorted([*self._refused_files, *models], key=lambda refused: refused.archive)

    def note_store(self, archives: Mapping[ModelKey, Path], refused: Sequence[models_pb2.RefusedArchive]) -> None:
        """Note what a TorchServe of the gateway's own was started with, and what it was spared."""
        self._archives, self._refused_files = archives, refused

    def note_end(self) -> None:
        """Note that TorchServe has ended: none of its models is there until it shows its card again."""
        self.back.clear()
        self._on_change()

    async def learn(self, api: TorchServeApi) -> bool:
        """Ask all models of a TorchServe that starts for their cards at once, and refuse those that give none.

        Args:
            api: The connection to it.

        Returns:
            Whether workers have loaded all of them in time.

        Raises:
            BackendUnavailableError: It does not tell which models it has.
        """
        registered = self._named() or await api.list_registered(self._start_seconds, wait_for_ready=True)
        served: dict[ModelKey, Served] = {}
        faults: dict[ModelKey, str] = {}
        asked = {asyncio.create_task(self._meet(api, key, one)): key for key, one in registered.items()}
        waiting = await self._await_answers({task: registered[key].startup_seconds for task, key in asked.items()})
        for task, key in asked.items():
            late = BackendUnavailableError("its worker did not load it in time")
            match late if task in waiting else task.exception():
                case None:
                    served[task.result().key] = task.result()
                case BackendError() | ArchiveError() as error:
                    faults[key] = str(error)
                    # It may come yet: callers of a model that was there are not told that there is none.
                    if isinstance(error, BackendUnavailableError) and key in self.served:
                        served[key] = self.served[key]
                case error:
                    raise error
        self._publish(served, registered, faults)
        return not waiting

    async def _await_answers(self, asked: Mapping[asyncio.Task[Served], float]) -> set[asyncio.Task[Served]]:
        """Wait for answers, give up on those that are far behind the others, and return these.

        Args:
            asked: What is waited for, with the seconds that the model has to load.
        """
        waiting, patience = set(asked), self._start_seconds
        try:
            while waiting:
                answered, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not answered:
                    break
                if any(task.exception() is None for task in answered):
                    slowest = max((asked[task] for task in waiting), default=0.0)
                    patience = min(PATIENCE * slowest, self._start_seconds)
        finally:
            for task in waiting:
                task.cancel()
        return waiting

    async def _meet(self, api: TorchServeApi, key: ModelKey, registered: Registered) -> Served:
        """Ask a model for its card, waiting until TorchServe runs and a worker has loaded it."""
        served = await self._ask(api, key, registered, self._start_seconds, wait_for_ready=True)
        if served.key in self.served:
            # Of a TorchServe that was started again: its callers wait, and other models may load for long.
            self.served = {**self.served, served.key: served}
            self.back.add(served.key)
            self._on_change()
        await self._warm_up(api, key)
        return served

    async def follow(self, api: TorchServeApi) -> None:
        """Ask a TorchServe that serves which models it has now: take in those that are new, let go those that left.

        A model that does not answer in time stays as it is: whether it can be used is for probes to say.

        Args:
            api: The connection to it.
        """
        try:
            registered = self._named() or await api.list_registered(_FOLLOW_SECONDS)
            # A worker that is not there would let a call wait.
            asked = {key: known.registered for key, known in self.served.items()}
            asked |= {key: one for key, one in registered.items() if one.ready}
            met = await asyncio.gather(*(self._meet_again(api, *one) for one in asked.items()))
        except BackendUnavailableError as error:
            if self._is_heard:
                _log.warning("models that come and go are not noticed: %s", error)
            self._is_heard = False
        except Exception:
            # Following must outlive whatever a TorchServe answers.
            _log.exception("TorchServe could not be asked which models it has")
        else:
            if not self._is_heard:
                _log.warning("models that come and go are noticed again")
            self._is_heard = True
            self._take_over(registered, dict(zip(asked, met, strict=True)))
            for key, one in registered.items():
                if one.ready < one.workers and key in self.served:
                    self._on_lack(self.served[key])

    async def _meet_again(
        self, api: TorchServeApi, key: ModelKey, registered: Registered
    ) -> Served | BackendError | ArchiveError:
        """Ask a model for its card, and try it out where it is another than before; return what is wrong with it."""
        try:
            served = await self._ask(api, key, registered, _FOLLOW_SECONDS)
        except (BackendError, ArchiveError) as error:
            return error
        known = self.served.get(served.key)
        if known is not None and known.loaded == served.loaded:
            return replace(served, workers=served.workers or known.workers)
        try:
            await self._warm_up(api, key)
            await try_out(served.loaded.card, partial(self._run, served))
        except BackendError as error:
            # Not what it is served as, if it is.
            return ModelUnknownError(str(error))
        return served

    def _take_over(
        self, registered: Mapping[ModelKey, Registered], met: Mapping[ModelKey, Served | BackendError | ArchiveError]
    ) -> None:
        left = {key for key, one in met.items() if isinstance(one, ModelUnknownError | ArchiveError)}
        stayed = {key: known for key, known in self.served.items() if key not in left}
        # Where several TorchServes share a name, one may have what another has not.
        shown = {one.key: one for one in met.values() if isinstance(one, Served)}
        faults = {key: str(one) for key, one in met.items() if not isinstance(one, Served)}
        self._publish(stayed | shown, registered, faults)

    def _publish(
        self,
        served: Mapping[ModelKey, Served],
        registered: Mapping[ModelKey, Registered],
        faults: Mapping[ModelKey, str],
    ) -> None:
        """Serve these models, and refuse what else is registered or in the store."""
        names = {key.name for key in served}
        refused = {
            self._label(key): "TorchServe could not load it" for key in self._archives.keys() - registered.keys()
        }
        for key in registered.keys() - served.keys():
            if key.version or key.name not in names:
                refused[self._label(key)] = faults.get(key, "its worker did not load it in time")
        if (served, refused) != (self.served, self._refused_models):
            self.served, self._refused_models = served, refused
            self._on_change()

    def _label(self, key: ModelKey) -> str:
        """Name a model as those who put it there know it."""
        return self._archives[key].name if key in self._archives else " ".join(key).rstrip()

    def _named(self) -> dict[ModelKey, Registered]:
        """Return the models that the settings name; TorchServe takes the newest of those that have no version."""
        unknown = Registered(self._start_seconds, self._workers, self._workers)
        return {ModelKey(name, ""): unknown for name in self._names}

    async def _ask(
        self,
        api: TorchServeApi,
        key: ModelKey,
        registered: Registered,
        timeout: float,
        *,
        wait_for_ready: bool = False,
    ) -> Served:
        """Ask a model for its card."""
        reply = await api.call(key, worker_pb2.WorkRequest(), timeout, wait_for_ready=wait_for_ready)
        card_json = reply.description.card_json
        card = parse_card(card_json)
        if (card.name, key.version and card.version) != key:
            raise ArchiveError(f"it is registered under another name than its card's, {card.name} {card.version}")
        needed = picture_bytes(card.image.width * card.image.height * card.image.channels) + OVERHEAD_BYTES
        if needed > api.message_bytes:
            raise ArchiveError(f"a picture may take {needed} bytes, TorchServe answers {api.message_bytes}")
        loaded = models_pb2.LoadedModel(card=card, digest=card_digest(card_json))
        return Served(loaded, registered.workers, registered.startup_seconds)

    async def _warm_up(self, api: TorchServeApi, key: ModelKey) -> None:
        """Make a TorchServe of the gateway's own as quick as it will be."""
        if self._is_own:
            for _ in range(_WARM_UP_CALLS):
                await api.call(key, worker_pb2.WorkRequest(), self._start_seconds)
