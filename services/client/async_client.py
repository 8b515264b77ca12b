"""The client for asyncio: the calls of `Client`, awaited."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, Self, TypeVar, Unpack

import grpc
from grpc import aio

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc
from services.client.connection import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, connect_async
from services.client.credentials import Credentials
from services.client.errors import GantryError, read_error
from services.client.exchange import Exchange, Translated
from services.client.images import ImageLike, image_bytes
from services.client.paths import Path
from services.client.pictures import Frame, SampledGrid, SampledImage, Translation, Traversal
from services.client.progress import progress_bar
from services.client.requests import (
    SampleOptions,
    TranslateOptions,
    TraverseOptions,
    animation_options,
    grid_options,
    sample_grid_request,
    sample_request,
    translate_request,
    traverse_request,
)
from services.client.retry import MAX_ATTEMPTS, Attempts
from services.client.translator import TranslationStream

Answer = TypeVar("Answer")
Result = TypeVar("Result")


class AsyncClient:
    """A connection to a gateway for one event loop; to be made where that loop runs.

    Arguments, results and errors of each method are those of the method of `Client` with the same name. An iterator
    that is left early is to be closed with `aclose`, or by `contextlib.aclosing`, which cancels the rest.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        credentials: Credentials | None = None,
        attempts: int = MAX_ATTEMPTS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare the connection; arguments as of `Client`."""
        self._timeout, self._clock, self._sleep = timeout, clock, sleep
        self._credentials, self._attempts = credentials or Credentials(), attempts
        self._channel = connect_async(address, self._credentials)
        self._generation = generation_pb2_grpc.GenerationServiceStub(self._channel)
        self._models = models_pb2_grpc.ModelServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._channel.close()

    async def sample(self, model: str, **options: Unpack[SampleOptions]) -> list[SampledImage]:
        """Make pictures; see `Client.sample`."""
        answer = await self._call(self._generation.Sample, sample_request(model, **options))
        return [SampledImage.from_message(image) for image in answer.images]

    async def sample_grid(
        self, model: str, *, columns: int | None = None, gap: int | None = None, **options: Unpack[SampleOptions]
    ) -> SampledGrid:
        """Make pictures and get them as the tiles of one; see `Client.sample_grid`."""
        request = sample_grid_request(model, columns, gap, **options)
        return SampledGrid.from_message(await self._call(self._generation.Sample, request))

    def sample_stream(self, model: str, **options: Unpack[SampleOptions]) -> AsyncGenerator[SampledImage, None]:
        """Make pictures and get each as soon as it can be; see `Client.sample_stream`."""
        request = generation_pb2.SampleStreamRequest(sample=sample_request(model, **options))
        return self._stream(
            self._generation.SampleStream, request, lambda answer: SampledImage.from_message(answer.image)
        )

    def traverse(self, model: str, path: Path, **options: Unpack[TraverseOptions]) -> AsyncGenerator[Frame, None]:
        """Walk through a model's latents and other inputs, frame by frame; see `Client.traverse`."""
        request = traverse_request(model, path, **options)
        return self._stream(self._generation.Traverse, request, lambda answer: Frame.from_message(answer.frame))

    async def traverse_grid(
        self,
        model: str,
        path: Path,
        *,
        columns: int | None = None,
        gap: int | None = None,
        **options: Unpack[TraverseOptions],
    ) -> Traversal:
        """Walk through a model's latents and other inputs, as the tiles of one picture; see `Client.traverse_grid`."""
        return await self._assemble(traverse_request(model, path, grid=grid_options(columns, gap), **options))

    async def traverse_animation(
        self,
        model: str,
        path: Path,
        *,
        frame_milliseconds: int | None = None,
        back_and_forth: bool = False,
        **options: Unpack[TraverseOptions],
    ) -> Traversal:
        """Walk through a model's latents and other inputs, as an animated WEBP; see `Client.traverse_animation`."""
        animation = animation_options(frame_milliseconds, back_and_forth)
        return await self._assemble(traverse_request(model, path, animation=animation, **options))

    async def translate(self, model: str, image: ImageLike, **options: Unpack[TranslateOptions]) -> Translation:
        """Turn a picture of one domain into one of the other; see `Client.translate`."""
        data = await asyncio.to_thread(image_bytes, image)
        ((_, result),) = [translated async for translated in self.translate_many(model, [data], **options)]
        if isinstance(result, GantryError):
            raise result
        return result

    def translate_many(
        self,
        model: str,
        images: Iterable[ImageLike | tuple[Any, ImageLike]],
        *,
        progress: bool = False,
        **options: Unpack[TranslateOptions],
    ) -> AsyncGenerator[Translated, None]:
        """Translate many pictures and get each as soon as it is made; see `Client.translate_many`."""
        exchange = Exchange(images, translate_request(model, **options), self._timeout, self._attempts)
        return self._exchange(exchange, progress)

    def translator(self, model: str, **options: Unpack[TranslateOptions]) -> TranslationStream:
        """Return a stream that coroutines share, each with pictures of its own; to be closed.

        Unlike the other methods it tries nothing again: that is left to those who call it.

        Args:
            model: Name of the model.
            **options: See `TranslateOptions`.
        """

        def call() -> Any:
            return self._generation.TranslateStream(metadata=self._credentials.metadata())

        return TranslationStream(call, translate_request(model, **options), self._timeout)

    async def models(self) -> list[models_pb2.LoadedModel]:
        """Return every loaded model with its card; see `Client.models`."""
        return list((await self._list_models()).models)

    async def refused_archives(self) -> list[models_pb2.RefusedArchive]:
        """Return every archive that the gateway does not serve; see `Client.refused_archives`."""
        return list((await self._list_models()).refused)

    async def model(self, name: str, version: str | None = None) -> models_pb2.LoadedModel:
        """Return one loaded model with its card; see `Client.model`."""
        request = models_pb2.GetModelRequest(model=name, version=version or "")
        answer: models_pb2.GetModelResponse = await self._call(self._models.GetModel, request)
        return answer.model

    async def _list_models(self) -> models_pb2.ListModelsResponse:
        return await self._call(self._models.ListModels, models_pb2.ListModelsRequest())

    async def _assemble(self, request: generation_pb2.TraverseRequest) -> Traversal:
        answers = self._stream(self._generation.Traverse, request, lambda answer: answer)
        return Traversal.from_messages([answer async for answer in answers])

    async def _call(self, method: Callable[..., Awaitable[Answer]], request: object) -> Answer:
        attempts = Attempts(self._timeout, self._clock, self._attempts)
        while True:
            try:
                return await method(request, timeout=attempts.seconds_left(), metadata=self._credentials.metadata())
            except grpc.RpcError as error:
                pause = attempts.pause_after(error)
            await self._sleep(pause)

    async def _stream(
        self, method: Callable[..., Any], request: object, read: Callable[[Any], Result]
    ) -> AsyncGenerator[Result, None]:
        async def begin(request: object, **how: Any) -> tuple[Any, Any]:
            """Wait for the first answer, which is where a refusal shows: then the call can be tried again."""
            call = method(request, **how)
            return call, await call.read()

        call, answer = await self._call(begin, request)
        try:
            while answer is not aio.EOF:
                yield read(answer)
                answer = await call.read()
        except grpc.RpcError as error:
            raise read_error(error) from error
        finally:
            call.cancel()

    async def _exchange(self, exchange: Exchange, progress: bool) -> AsyncGenerator[Translated, None]:
        with progress_bar("translating", exchange.total, shown=progress) as advance:
            async with aclosing(self._rounds(exchange)) as rounds:
                async for translated in rounds:
                    advance()
                    yield translated

    async def _rounds(self, exchange: Exchange) -> AsyncGenerator[Translated, None]:
        while True:
            call: Any = self._generation.TranslateStream(
                _on_a_thread(exchange.requests()), metadata=self._credentials.metadata()
            )
            failure = None
            try:
                while (answer := await asyncio.wait_for(call.read(), self._timeout)) is not aio.EOF:
                    exchange.receive(answer)
                    for translated in exchange.settled():
                        yield translated
            except grpc.RpcError as error:
                failure = error
            except TimeoutError as error:
                raise exchange.too_late() from error
            finally:
                call.cancel()
            for translated in exchange.settled():
                yield translated
            # On a thread, since it may have to wait for the iterable of pictures.
            pause = await asyncio.to_thread(exchange.end_round, failure)
            if pause is None:
                return
            await self._sleep(pause)


async def _on_a_thread(messages: Iterator[Result]) -> AsyncIterator[Result]:
    """Read files where that holds nothing up."""
    while (message := await asyncio.to_thread(next, messages, None)) is not None:
        yield message
