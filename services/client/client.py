"""The client that blocks: arguments in, pictures and model cards out, one connection for all calls."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar, Unpack

import grpc

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc
from services.client.errors import read_error
from services.client.pictures import SampledGrid, SampledImage
from services.client.requests import SampleOptions, sample_request
from services.client.retry import pause_before_retry

Answer = TypeVar("Answer")

DEFAULT_ADDRESS = "localhost:50051"
# The gateway bounds its answers by a setting of its own; a second bound here could only disagree with it.
_CHANNEL_OPTIONS = [("grpc.max_receive_message_length", -1)]


class Client:
    """A connection to a gateway. Safe to share among threads.

    A call that is refused raises `GantryError`. It is first tried again, after the delay that the gateway asks for,
    where the gateway says that this can help and the deadline leaves the time.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float | None = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare the connection; it is made with the first call.

        Args:
            address: host:port of the gateway.
            timeout: Deadline of each call in seconds, retries included; of `sample_stream` up to its last picture.
                None: no deadline.
            clock: Monotonic seconds.
            sleep: Waits the seconds it is given.
        """
        self._timeout, self._clock, self._sleep = timeout, clock, sleep
        self._channel = grpc.insecure_channel(address, _CHANNEL_OPTIONS)
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
            TypeError: An option is unknown or of a wrong type.
            ValueError: An option has a value that no request can hold.
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
            TypeError: An option is unknown or of a wrong type.
            ValueError: An option has a value that no request can hold.
        """
        request = sample_request(model, **options)
        request.grid.CopyFrom(generation_pb2.GridOptions(columns=columns, gap=gap))
        return SampledGrid.from_message(self._call(self._generation.Sample, request))

    def sample_stream(self, model: str, **options: Unpack[SampleOptions]) -> Iterator[SampledImage]:
        """Make pictures and get each as soon as it and those before it are made.

        Args:
            model: Name of the model.
            **options: See `SampleOptions`.

        Returns:
            An iterator over the pictures in the order asked for. The call begins with the first step; closing the
            iterator early cancels the rest. Its steps raise GantryError where the call is refused or fails.

        Raises:
            TypeError: An option is unknown or of a wrong type.
            ValueError: An option has a value that no request can hold.
        """
        return self._stream(generation_pb2.SampleStreamRequest(sample=sample_request(model, **options)))

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

    def _stream(self, request: generation_pb2.SampleStreamRequest) -> Iterator[SampledImage]:
        call, first = self._call(self._begin_stream, request)
        try:
            for answer in itertools.chain([first], call):
                yield SampledImage.from_message(answer.image)
        except grpc.RpcError as error:
            raise read_error(error) from error
        finally:
            call.cancel()

    def _begin_stream(
        self, request: generation_pb2.SampleStreamRequest, timeout: float | None
    ) -> tuple[Any, generation_pb2.SampleStreamResponse]:
        """Start a stream and wait for its first answer, which is where a refusal shows: then it can be tried again."""
        call: Any = self._generation.SampleStream(request, timeout=timeout)
        return call, next(call)

    def _call(self, method: Callable[..., Answer], request: object) -> Answer:
        deadline = math.inf if self._timeout is None else self._clock() + self._timeout
        attempts = 0
        while True:
            attempts += 1
            seconds_left = deadline - self._clock()
            try:
                return method(request, timeout=None if math.isinf(seconds_left) else seconds_left)
            except grpc.RpcError as error:
                refusal = read_error(error)
                pause = pause_before_retry(refusal, attempts, deadline - self._clock())
                if pause is None:
                    raise refusal from error
            self._sleep(pause)
