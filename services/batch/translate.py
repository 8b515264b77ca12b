"""Translation as a batch job: reads pictures, has them translated over streams, and hands the results to the engine."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Self

from gantry.v1 import models_pb2
from services.batch.calling import JobCalls
from services.batch.faults import ItemError, JobError
from services.batch.inputs import Input
from services.batch.items import Item
from services.batch.job import JobProvenance, OutputFile
from services.client import AsyncClient, Direction, Format, GantryError, TranslateOptions
from services.client.cards import summarise_inputs
from services.client.pictures import DIRECTION_NAMES
from services.client.translator import TranslationStream
from services.worker.inputs import PICTURE, takes, ways_of

# What a gateway takes of one stream at once unless its settings say otherwise.
PICTURES_PER_STREAM = 16
_LOSSY = {"jpeg", "webp"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a job asks for.

    Attributes:
        model: Name of the model.
        version: Its version; None for the newest.
        to: Name of the domain that pictures are to be of; None where `direction` says it, or there is one way.
        direction: By the domains of the card; None where `to` says it, or there is one way.
        format: How outputs are encoded.
        quality: Of jpeg and webp, 1 to 100; None for the API's default.
        max_side: The longer side in pixels to work at; None for each picture's own.
    """

    model: str
    version: str | None = None
    to: str | None = None
    direction: Direction | None = None
    format: Format = "png"
    quality: int | None = None
    max_side: int | None = None

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**found)

    def to_json(self) -> dict[str, Any]:
        """Return the request for a file of JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SettledTranslation:
    """A request as the loaded model understands it.

    Attributes:
        provenance: What records tell of it.
        options: What is asked of every picture, with nothing left open.
    """

    provenance: JobProvenance
    options: TranslateOptions


def settle(request: Request, loaded: models_pb2.LoadedModel) -> SettledTranslation:
    """Read a request by the card of the model.

    Args:
        request: What the user asks for.
        loaded: The model.

    Raises:
        JobError: The model does not do that.
    """
    card = loaded.card
    if not takes(card, PICTURE):
        raise JobError(f"model {card.name} does not translate pictures")
    options = TranslateOptions(version=card.version, direction=_direction(request, card), format=request.format)
    if request.quality is not None and request.format in _LOSSY:
        options["quality"] = request.quality
    if request.max_side is not None:
        options["max_side"] = request.max_side
    return SettledTranslation(JobProvenance.of(loaded, options), options)


def _direction(request: Request, card: models_pb2.ModelCard) -> Direction:
    ways = {graph.target_domain: DIRECTION_NAMES[way] for way, graph in ways_of(card).items()}
    there_are = f"model {card.name} translates {summarise_inputs(card)}"
    if request.to is not None and request.to not in ways:
        raise JobError(f"--to {request.to}: {there_are}")
    if request.direction is not None and request.direction not in ways.values():
        raise JobError(f"--direction {request.direction}: {there_are}")
    meant = {way for way in (request.direction, ways.get(request.to or "")) if way is not None} or set(ways.values())
    if len(meant) != 1:
        raise JobError(f"give --to {' or '.join(sorted(ways))}, or --direction; if both, such that they agree")
    return meant.pop()


class PictureTranslator:
    """Makes the items of a translation job; see `services.batch.job.Make`."""

    def __init__(
        self,
        inputs: Sequence[Input],
        translators: Sequence[TranslationStream],
        caller: JobCalls,
        provenance: JobProvenance,
    ) -> None:
        """Bring together what it takes; `translating` is the usual way.

        Args:
            inputs: Where the items were found.
            translators: The streams to share out the pictures among.
            caller: Makes the calls.
            provenance: The model that must have made every picture.
        """
        self._inputs, self._translators = inputs, translators
        self._caller, self._provenance = caller, provenance

    async def __call__(self, item: Item, known: str | None) -> OutputFile | None:
        """Make one item."""
        data, digest = await self._read(item)
        if digest == known:
            return None
        translator = min(self._translators, key=lambda one: one.under_way)
        try:
            translation, milliseconds = await self._caller(lambda: translator.translate(data))
        except GantryError as error:
            raise ItemError(error.reason or error.code.name, error.message, digest) from error
        if translation.digest != self._provenance.digest:
            raise JobError(f"model {translation.model} was replaced while the job ran; start it again")
        return OutputFile(data=translation.data, milliseconds=milliseconds, input_digest=digest)

    async def _read(self, item: Item) -> tuple[bytes, str]:
        source = self._inputs[item.source]
        try:
            return await asyncio.get_running_loop().run_in_executor(source.executor, _read, source, item.locator)
        except OSError as error:
            raise ItemError("UNREADABLE", error.strerror or str(error)) from error


@asynccontextmanager
async def translating(
    client: AsyncClient, inputs: Sequence[Input], settled: SettledTranslation, caller: JobCalls, concurrency: int
) -> AsyncIterator[PictureTranslator]:
    """Open the streams of a job, and close them at the end.

    Args:
        client: The gateway.
        inputs: Where the items were found.
        settled: What is asked for.
        caller: Makes the calls.
        concurrency: The most pictures that are to be with the gateway at once.
    """
    async with AsyncExitStack() as opened:
        translators = []
        for _ in range(-(-concurrency // PICTURES_PER_STREAM)):
            translator = client.translator(settled.provenance.model, **settled.options)
            opened.push_async_callback(translator.close)
            translators.append(translator)
        yield PictureTranslator(inputs, translators, caller, settled.provenance)


def _read(source: Input, locator: str) -> tuple[bytes, str]:
    """Return a picture and its SHA-256."""
    data = source.read(locator)
    return data, hashlib.sha256(data).hexdigest()
