"""Makes the pictures of a data set: gathers what the job asks for one by one into calls of SampleStream.

The job asks for many items at once. Each call takes as many consecutive seeds of one class as are waiting when it
begins, so that calls grow while the gateway is busy, and nothing is asked for that an earlier run has made.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any, Self

import grpc

from services.batch.calling import JobCalls
from services.batch.faults import ItemError, JobError
from services.batch.items import Item
from services.batch.job import OutputFile
from services.batch.sample import SettledSample
from services.batch.sample_plan import CALL_PICTURES
from services.batch.shards import Shard
from services.client import AsyncClient, GantryError, SampledImage, SampleOptions

# Where a picture stands in the data set: place of its class among the categories, and its number within the class.
_Key = tuple[int, int]
_Waiting = tuple[_Key, asyncio.Future[OutputFile]]
# True of every picture if of one; a gateway that is full or goes away says so in another way.
_OF_ALL = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.DEADLINE_EXCEEDED}


class PictureSampler:
    """The items of a data set, and what makes them; for one event loop. Its context ends the calls under way."""

    def __init__(
        self,
        client: AsyncClient,
        caller: JobCalls,
        settled: SettledSample,
        *,
        calls: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            client: A client that makes one attempt of each call.
            caller: Makes the attempts.
            settled: What to make; pictures of another archive are not taken.
            calls: The most calls at once, at least 1.
            clock: Monotonic seconds.
        """
        self._client, self._caller = client, caller
        self._data_set, self._provenance, self._options = settled.data_set, settled.provenance, settled.options
        self._calls, self._clock = calls, clock
        self._waiting: dict[_Key, asyncio.Future[OutputFile]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving = 0

    async def __aenter__(self) -> Self:
        """Return the sampler."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all calls."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def items(self, shard: Shard) -> Iterator[Item]:
        """Yield a shard's part of the data set; runs of pictures stay together."""
        places = {category.id: place for place, category in enumerate(self._data_set.categories)}
        for run in self._data_set.runs(shard):
            for number in run.numbers:
                seed = str(self._data_set.seed_of(run.category, number))
                yield Item(
                    input=f"{run.category.name} seed {seed}",
                    output=self._data_set.file_of(run.category, number),
                    fingerprint=seed,
                    source=places[run.category.id],
                    locator=str(number),
                )

    async def try_out(self) -> None:
        """Have the gateway judge what every picture is asked for with, by one that nobody gets.

        Raises:
            JobError: It refuses that.
        """
        with suppress(ItemError):  # A fault of that one, which the job is to record.
            await self.make(next(self.items(Shard())), None)

    async def make(self, item: Item, _: str | None) -> OutputFile:
        """Make an item; see `services.batch.job.Make`."""
        future: asyncio.Future[OutputFile] = asyncio.get_running_loop().create_future()
        self._waiting[item.source, int(item.locator)] = future
        if self._serving < self._calls:
            self._serving += 1
            task = asyncio.create_task(self._serve())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _serve(self) -> None:
        """Make calls while anybody waits."""
        try:
            while self._waiting:
                await self._call()
        finally:
            self._serving -= 1

    async def _call(self) -> None:
        """Make one call, again and again until each of its pictures has come, or the first that is left is at fault."""
        run: deque[_Waiting] = deque()
        try:
            await self._caller(lambda: self._attempt(run))
        except GantryError as error:
            if error.code in _OF_ALL:
                self._give_up(run, JobError(f"the gateway refuses the job: {error}"))
                return
            # Pictures come in order, so that the fault is that of the first.
            if run:
                _settle(run.popleft(), ItemError(error.reason or error.code.name, error.message))
            self._waiting.update(run)
        except Exception as error:
            self._give_up(run, error)

    async def _attempt(self, run: deque[_Waiting]) -> None:
        """Ask for a run of pictures, those that wait now where it has none yet, and settle each that comes."""
        run.extend(() if run else self._take())
        if not run:
            return
        place, number = run[0][0]
        category = self._data_set.categories[place]
        options: SampleOptions = {
            **self._options,
            **category.condition,
            "count": len(run),
            "seed": self._data_set.seed_of(category, number),
        }
        began = self._clock()
        async with aclosing(self._client.sample_stream(self._provenance.model, **options)) as pictures:
            async for picture in pictures:
                if picture.digest != self._provenance.digest:
                    raise JobError(f"model {picture.model} was replaced while the job ran; start it again")
                made = OutputFile(
                    data=picture.data,
                    milliseconds=1000 * (self._clock() - began),
                    facts=_facts(picture, category.name, category.id),
                )
                _settle(run.popleft(), made)
        if run:
            raise JobError(f"the gateway ended a stream {len(run)} pictures short")

    def _take(self) -> Iterator[_Waiting]:
        """Take pictures with consecutive seeds out of those that wait, the longest waiting among them."""
        if not self._waiting:
            return
        place, number = next(iter(self._waiting))
        while (place, number - 1) in self._waiting:
            number -= 1
        for key in ((place, number + offset) for offset in range(CALL_PICTURES)):
            if key not in self._waiting:
                return
            yield key, self._waiting.pop(key)

    def _give_up(self, run: deque[_Waiting], error: Exception) -> None:
        """Hand an error to all who wait: no call can bring them their pictures."""
        for waiting in [*run, *self._waiting.items()]:
            _settle(waiting, error)
        self._waiting.clear()


def _settle(waiting: _Waiting, fate: OutputFile | Exception) -> None:
    _, future = waiting
    if future.done():  # Whoever waited was cancelled.
        return
    if isinstance(fate, OutputFile):
        future.set_result(fate)
    else:
        future.set_exception(fate)


def _facts(picture: SampledImage, name: str, number: int) -> dict[str, Any]:
    """What the table of labels tells of a picture besides its file."""
    return {
        "label": number,
        "class": name,
        "seed": picture.seed,
        "truncation": picture.truncation,
        "codes": dict(picture.codes),
        "attributes": dict(picture.attributes),
    }
