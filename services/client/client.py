"""The client that blocks: arguments in, pictures and model cards out, one connection for all calls."""

import itertools
import time
from collections.abc import Callable, Generator, Iterable
from threading import TIMEOUT_MAX, Lock, Timer
from typing import Any, Self, TypeVar, Unpack

import grpc

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc
from services.client.connection import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, connect
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

Answer = TypeVar("Answer")
Result = TypeVar("Result")


class Client:
    """A connection to a gateway. Safe to share among threads.

    A call that is refused raises `GantryError`. It is first tried again, after the delay that the gateway asks for,
    where the gateway says that this can help and the deadline leaves the time. Options that no request can hold raise
    TypeError or ValueError before anything is sent, with a message that begins with the option's name. A token's file
    that cannot be read raises OSError, one without a token ValueError.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        credentials: Credentials | None = None,
        attempts: int = MAX_ATTEMPTS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare the connection; it is made with the first call.

        Args:
            address: host:port of the gateway.
            timeout: Deadline of each call in seconds, retries included; of a stream of pictures up to its last, but of
                `translate_many` the most seconds that it waits for the next answer. None: no deadline.
            credentials: What to show the gateway, and what to trust. None: plain text, without a token.
            attempts: The most times that a call, or a picture of `translate_many`, is tried.
            clock: Monotonic seconds.
            sleep: Waits the seconds it is given.

        Raises:
            OSError: A file of the credentials cannot be read.
            ValueError: A file is no PEM, or a token would leave this machine in plain text.
        """
        self._timeout, self._clock, self._sleep = timeout, clock, sleep
        self._credentials, self._attempts = credentials or Credentials(), attempts
        self._channel = connect(address, self._credentials)
        self._generation = generation_pb2_grpc.GenerationServiceStub(self._channel)
        self._models = models_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._channel.close()

    def sample(self, model: str, **options: Unpack[SampleOptions]) -> list[SampledImage]:
        """Make pictures.

        Args:
            model: Name of the model.
            **options: See `SampleOptions`.

        Returns:
            The pictures in the order asked for.

        Raises:
            GantryError: The call was refused or failed.
        """
        answer = self._call(self._generation.Sample, sample_request(model, **options))
        return [SampledImage.from_message(image) for image in answer.images]

    def sample_grid(
        self, model: str, *, columns: int | None = None, gap: int | None = None, **options: Unpack[SampleOptions]
    ) -> SampledGrid:
        """Make pictures and get them as the tiles of one.

        Args:
            model: Name of the model.
            columns: Tiles per row, at least 1. Default: `count` with `each_class`, else about as many as rows.
            gap: Pixels between tiles, 0 to 64. Default: 2.
            **options: See `SampleOptions`.

        Returns:
            The grid and the origin of each tile.

        Raises:
            GantryError: The call was refused or failed.
        """
        request = sample_grid_request(model, columns, gap, **options)
        return SampledGrid.from_message(self._call(self._generation.Sample, request))

    def sample_stream(self, model: str, **options: Unpack[SampleOptions]) -> Generator[SampledImage, None, None]:
        """Make pictures and get each as soon as it and those before it are made.

        Args:
            model: Name of the model.
            **options: See `SampleOptions`.

        Returns:
            An iterator over the pictures in the order asked for. The call begins with the first step; closing the
            iterator early cancels the rest. Its steps raise GantryError where the call is refused or fails.
        """
        request = generation_pb2.SampleStreamRequest(sample=sample_request(model, **options))
        return self._stream(
            self._generation.SampleStream, request, lambda answer: SampledImage.from_message(answer.image)
        )

    def traverse(self, model: str, path: Path, **options: Unpack[TraverseOptions]) -> Generator[Frame, None, None]:
        """Walk through a model's latents and other inputs, and get each frame as soon as all up to it are made.

        Args:
            model: Name of the model.
            path: A Sweep, an Interpolation or an Arithmetic.
            **options: See `TraverseOptions`.

        Returns:
            An iterator over the frames in order, as of `sample_stream`.
        """
        request = traverse_request(model, path, **options)
        return self._stream(self._generation.Traverse, request, lambda answer: Frame.from_message(answer.frame))

    def traverse_grid(
        self,
        model: str,
        path: Path,
        *,
        columns: int | None = None,
        gap: int | None = None,
        **options: Unpack[TraverseOptions],
    ) -> Traversal:
        """Walk through a model's latents and other inputs, and get the frames as the tiles of one picture.

        Args:
            model: Name of the model.
            path: A Sweep, an Interpolation or an Arithmetic.
            columns: Tiles per row, at least 1. Default: the stops of x for a sweep of two, else all frames.
            gap: Pixels between tiles, 0 to 64. Default: 2.
            **options: See `TraverseOptions`.

        Returns:
            The grid, and the frames themselves.

        Raises:
            GantryError: The call was refused or failed.
        """
        return self._assemble(traverse_request(model, path, grid=grid_options(columns, gap), **options))

    def traverse_animation(
        self,
        model: str,
        path: Path,
        *,
        frame_milliseconds: int | None = None,
        back_and_forth: bool = False,
        **options: Unpack[TraverseOptions],
    ) -> Traversal:
        """Walk through a model's latents and other inputs, and get the frames as an animated WEBP.

        Args:
            model: Name of the model.
            path: A Sweep, an Interpolation or an Arithmetic.
            frame_milliseconds: How long a frame stands, 10 to 10000. Default: 100.
            back_and_forth: Whether it goes back to the first frame the way it came.
            **options: See `TraverseOptions`.

        Returns:
            The animation, and the frames themselves.

        Raises:
            GantryError: The call was refused or failed.
        """
        animation = animation_options(frame_milliseconds, back_and_forth)
        return self._assemble(traverse_request(model, path, animation=animation, **options))

    def translate(self, model: str, image: ImageLike, **options: Unpack[TranslateOptions]) -> Translation:
        """Turn a picture of one domain into one of the other, of the same size.

        It goes through the stream of `translate_many`, so that pictures of any size fit.

        Args:
            model: Name of the model.
            image: The path of a file, the bytes of one, or a PIL image. The gateway takes JPEG, PNG, WEBP, GIF and BMP.
            **options: See `TranslateOptions`.

        Returns:
            The translated picture.

        Raises:
            GantryError: The call was refused or failed.
            OSError: The file cannot be read.
        """
        ((_, result),) = self.translate_many(model, [image_bytes(image)], **options)
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
    ) -> Generator[Translated, None, None]:
        """Translate many pictures and get each as soon as it is made, in any order.

        Args:
            model: Name of the model.
            images: Pictures as of `translate`, each alone or with an id of the caller's: (id, picture). They are taken
                and read only when the gateway has room for them, on another thread.
            progress: Whether to show a progress bar on stderr.
            **options: See `TranslateOptions`.

        Returns:
            An iterator over ids and results. A picture without an id has its path or its place, from 0, as id. A
            picture at fault has a GantryError as result, and the others go on. Closing the iterator early cancels the
            rest. Its steps raise GantryError where the call as a whole is refused or fails.
        """
        exchange = Exchange(images, translate_request(model, **options), self._timeout, self._attempts)
        return self._exchange(exchange, progress)

    def models(self) -> list[models_pb2.LoadedModel]:
        """Return every loaded model with its card, ordered by name, then version.

        Raises:
            GantryError: The call was refused or failed.
        """
        return list(self._list_models().models)

    def refused_archives(self) -> list[models_pb2.RefusedArchive]:
        """Return every archive of the model store that the gateway does not serve, with the reason.

        Raises:
            GantryError: The call was refused or failed.
        """
        return list(self._list_models().refused)

    def model(self, name: str, version: str | None = None) -> models_pb2.LoadedModel:
        """Return one loaded model with its card.

        Args:
            name: Its name.
            version: Its version. Default: the newest.

        Raises:
            GantryError: No such model is loaded, or the call failed.
        """
        request = models_pb2.GetModelRequest(model=name, version=version or "")
        answer: models_pb2.GetModelResponse = self._call(self._models.GetModel, request)
        return answer.model

    def _list_models(self) -> models_pb2.ListModelsResponse:
        return self._call(self._models.ListModels, models_pb2.ListModelsRequest())

    def _assemble(self, request: generation_pb2.TraverseRequest) -> Traversal:
        return Traversal.from_messages(self._stream(self._generation.Traverse, request, lambda answer: answer))

    def _call(self, method: Callable[..., Answer], request: object) -> Answer:
        attempts = Attempts(self._timeout, self._clock, self._attempts)
        while True:
            try:
                return method(request, timeout=attempts.seconds_left(), metadata=self._credentials.metadata())
            except grpc.RpcError as error:
                pause = attempts.pause_after(error)
            self._sleep(pause)

    def _stream(
        self, method: Callable[..., Any], request: object, read: Callable[[Any], Result]
    ) -> Generator[Result, None, None]:
        def begin(request: object, **how: Any) -> tuple[Any, Any]:
            """Wait for the first answer, which is where a refusal shows: then the call can be tried again."""
            call = method(request, **how)
            return call, next(call)

        call, first = self._call(begin, request)
        try:
            for answer in itertools.chain([first], call):
                yield read(answer)
        except grpc.RpcError as error:
            raise read_error(error) from error
        finally:
            call.cancel()

    def _exchange(self, exchange: Exchange, progress: bool) -> Generator[Translated, None, None]:
        with progress_bar("translating", exchange.total, shown=progress) as advance:
            for translated in self._rounds(exchange):
                advance()
                yield translated

    def _rounds(self, exchange: Exchange) -> Generator[Translated, None, None]:
        while True:
            call: Any = self._generation.TranslateStream(exchange.requests(), metadata=self._credentials.metadata())
            failure = None
            try:
                while (answer := self._next(call)) is not None:
                    exchange.receive(answer)
                    yield from exchange.settled()
            except grpc.RpcError as error:
                failure = error
            except TimeoutError as error:
                raise exchange.too_late() from error
            finally:
                call.cancel()
            yield from exchange.settled()
            pause = exchange.end_round(failure)
            if pause is None:
                return
            self._sleep(pause)

    def _next(self, call: Any) -> generation_pb2.TranslateStreamResponse | None:
        """Wait for the next answer of a stream, None at its end; TimeoutError where it is late."""
        decided = Lock()  # Whoever gets it decides whether there was an answer in time.

        def give_up() -> None:
            if decided.acquire(blocking=False):
                call.cancel()

        # gRPC's own deadline is for a whole call, and nobody knows how many pictures there are to come.
        timer = Timer(TIMEOUT_MAX if self._timeout is None else self._timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            return next(call, None)
        finally:
            timer.cancel()
            if not decided.acquire(blocking=False):
                raise TimeoutError
