"""gantry.v1.GenerationService: makes pictures."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, worker_pb2
from services.gateway.budget import Budget, current_hold
from services.gateway.call import current_call
from services.gateway.catalog import Catalog
from services.gateway.errors import ItemFailedError, answered
from services.gateway.interceptors.drain import Moment
from services.gateway.planning.output import OVERHEAD_BYTES, GridPlan, Limits
from services.gateway.planning.sample import SamplePlan, plan_sample
from services.gateway.planning.translate import plan_translate, shape_answer
from services.gateway.planning.traverse import AnimationPlan, TraversePlan, plan_traverse
from services.gateway.queues import Output, abandon
from services.gateway.servicers.assembly import animate, cut_grid, in_a_thread, pixels_of
from services.gateway.servicers.orders import Orders
from services.gateway.servicers.translate_stream import TranslateStream
from services.gateway.servicers.uploads import StreamLimits
from services.worker.imaging import Pixels, encode, picture_facts

# The most of the memory that the images of one stream may take while the caller reads them: one of so many parts.
_LARGEST_STREAM_SHARE = 16
# Images that are planned in about as much time as a thread takes to begin.
_MOST_PLANNED_AT_ONCE = 16

Context = grpc.aio.ServicerContext[Any, Any]


class GenerationServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Makes pictures."""

    def __init__(
        self,
        catalog: Catalog,
        orders: Orders,
        budget: Budget,
        limits: Limits,
        stream_limits: StreamLimits,
        stopping: Moment,
    ) -> None:
        """Keep what the calls need.

        Args:
            catalog: The loaded models.
            orders: Where work goes.
            budget: What the pictures of a TranslateStream are paid from.
            limits: What one request may ask for.
            stream_limits: What one TranslateStream may hold.
            stopping: When a TranslateStream is to take no further pictures.
        """
        self._catalog, self._orders, self._budget, self._limits = catalog, orders, budget, limits
        self._stream_limits, self._stopping = stream_limits, stopping

    async def Sample(  # noqa: N802 (gRPC's name)
        self, request: generation_pb2.SampleRequest, context: Context
    ) -> generation_pb2.SampleResponse:
        """Answer gantry.v1.GenerationService.Sample."""
        async with answered(context):
            loaded = current_call().about(self._catalog.find_generator(request.model, request.version, field="model"))
            plan = await self._plan_sample(request, loaded.card)
            await current_hold().grow(_most_bytes(loaded, plan.items))
            results = self._orders.place(loaded, plan.items, context)
            try:
                # As they come, not thousands at once while other calls wait.
                for image, result in zip(plan.images, results, strict=True):
                    output = await result
                    _complete_image(image, loaded, output)
                    self._orders.note(loaded, output)
            finally:
                abandon(results)
            grid = await in_a_thread(_cut_sample_grid, plan, plan.grid, loaded) if plan.grid else None
            return generation_pb2.SampleResponse(images=plan.images, grid=grid, seed=plan.seed)

    async def SampleStream(  # noqa: N802 (gRPC's name)
        self, request: generation_pb2.SampleStreamRequest, context: Context
    ) -> AsyncIterator[generation_pb2.SampleStreamResponse]:
        """Answer gantry.v1.GenerationService.SampleStream."""
        async with answered(context):
            sample = request.sample
            loaded = current_call().about(
                self._catalog.find_generator(sample.model, sample.version, field="sample.model")
            )
            plan = await self._plan_sample(sample, loaded.card, streamed=True)
            # Envelopes of one run of the graph: the first pictures are sent while the next are made. No more are made
            # than may wait for the caller to read.
            chunk, each = loaded.card.execution.chunk_items, _most_bytes(loaded, plan.items[:1])
            most = max(self._budget.largest(pictures=False) // _LARGEST_STREAM_SHARE // each, chunk)
            await current_hold().grow(min(most, len(plan.items)) * each)
            results = deque(self._orders.place(loaded, plan.items[:most], context, chunk))
            following = plan.items[most:]
            try:
                for index, image in enumerate(plan.images):
                    output = await results.popleft()
                    _complete_image(image, loaded, output)
                    self._orders.note(loaded, output)
                    yield generation_pb2.SampleStreamResponse(image=image, index=index)
                    image.ClearField("encoded")
                    if following and len(results) <= most - chunk:
                        results += await self._orders.place_patiently(loaded, following[:chunk], context, chunk)
                        following = following[chunk:]
            finally:
                abandon(results)

    async def Traverse(  # noqa: N802 (gRPC's name)
        self, request: generation_pb2.TraverseRequest, context: Context
    ) -> AsyncIterator[generation_pb2.TraverseResponse]:
        """Answer gantry.v1.GenerationService.Traverse."""
        async with answered(context):
            loaded = current_call().about(self._catalog.find_generator(request.model, request.version, field="model"))
            plan = await asyncio.to_thread(plan_traverse, request, loaded.card, self._limits)
            await current_hold().grow(_most_bytes(loaded, plan.items))
            results = self._orders.place(loaded, plan.items, context, loaded.card.execution.chunk_items)
            shown: list[Pixels] = []
            try:
                for frame, result in zip(plan.frames, results, strict=True):
                    output = await result
                    _complete_frame(frame, loaded, output)
                    self._orders.note(loaded, output)
                    if plan.assembly:
                        shown.append(pixels_of(frame.encoded))
                        await in_a_thread(_encode_frame, plan, frame, shown[-1], loaded)
                    yield generation_pb2.TraverseResponse(frame=frame)
            finally:
                abandon(results)
            if assembled := await in_a_thread(_assemble, plan, shown, loaded):
                yield generation_pb2.TraverseResponse(assembled=assembled)

    async def Translate(  # noqa: N802 (gRPC's name)
        self, request: generation_pb2.TranslateRequest, context: Context
    ) -> generation_pb2.TranslateResponse:
        """Answer gantry.v1.GenerationService.Translate."""
        async with answered(context):
            return await self._translate(request, context, streamed=False)

    async def TranslateStream(  # noqa: N802 (gRPC's name)
        self, request_iterator: AsyncIterator[generation_pb2.TranslateStreamRequest], context: Context
    ) -> AsyncIterator[generation_pb2.TranslateStreamResponse]:
        """Answer gantry.v1.GenerationService.TranslateStream."""

        async def translate(request: generation_pb2.TranslateRequest) -> generation_pb2.TranslateResponse:
            return await self._translate(request, context, streamed=True)

        async with answered(context):
            stream = TranslateStream(translate, self._budget, self._stream_limits, self._limits, self._stopping)
            async with aclosing(stream.run(request_iterator)) as responses:
                async for response in responses:
                    yield response

    async def _plan_sample(
        self, request: generation_pb2.SampleRequest, card: models_pb2.ModelCard, *, streamed: bool = False
    ) -> SamplePlan:
        """Plan many images in a thread: other callers' calls go on meanwhile."""
        most = max(request.count, len(request.label_ids), len(request.label_names))
        if most * (len(card.classes) if request.each_class else 1) <= _MOST_PLANNED_AT_ONCE:
            return plan_sample(request, card, self._limits, streamed=streamed)
        return await asyncio.to_thread(plan_sample, request, card, self._limits, streamed=streamed)

    async def _translate(
        self, request: generation_pb2.TranslateRequest, context: Context, *, streamed: bool
    ) -> generation_pb2.TranslateResponse:
        """Make one picture; that of a stream waits for a place and for its caller's limits, another is refused."""
        field = "translate.model" if streamed else "model"
        loaded = current_call().about(self._catalog.find_translator(request.model, request.version, field))
        plan = await asyncio.to_thread(plan_translate, request, loaded.card, self._limits, streamed=streamed)
        await current_hold().grow(plan.answer_bytes)
        if streamed:
            (result,) = await self._orders.place_patiently(loaded, [plan.item], context)
        else:
            (result,) = self._orders.place(loaded, [plan.item], context)
        # A call that is cancelled cancels what it awaits, and what is cancelled is not run.
        output = await result
        answer = shape_answer(plan, loaded, output.result, output.execution)
        self._orders.note(loaded, output)
        return answer


def _most_bytes(loaded: models_pb2.LoadedModel, items: Sequence[worker_pb2.WorkItem]) -> int:
    """Return the most bytes that generated pictures can have in all."""
    image = loaded.card.image
    return len(items) * (image.width * image.height * image.channels + OVERHEAD_BYTES)


def _complete_image(image: generation_pb2.Image, loaded: models_pb2.LoadedModel, output: Output) -> None:
    if output.result.error:
        raise ItemFailedError(f"the image with seed {image.seed} could not be made: {output.result.error}")
    _complete(image, loaded, output)


def _complete_frame(frame: generation_pb2.Frame, loaded: models_pb2.LoadedModel, output: Output) -> None:
    if output.result.error:
        raise ItemFailedError(f"frame {frame.index} could not be made: {output.result.error}")
    _complete(frame, loaded, output)


def _complete(
    picture: generation_pb2.Image | generation_pb2.Frame, loaded: models_pb2.LoadedModel, output: Output
) -> None:
    """Add what is known once a picture is made."""
    picture.encoded.CopyFrom(output.result.image)
    picture.model, picture.version = loaded.card.name, loaded.card.version
    picture.digest, picture.execution = loaded.digest, output.execution


def _cut_sample_grid(plan: SamplePlan, grid: GridPlan, loaded: models_pb2.LoadedModel) -> generation_pb2.EncodedImage:
    """Move the raw pixels of the images into one encoded grid."""
    tiles = [pixels_of(image.encoded) for image in plan.images]
    for image in plan.images:
        image.encoded.data = b""
    text = picture_facts(loaded.card, loaded.digest, plan.images[0].execution, plan.grid_facts())
    return cut_grid(tiles, grid, text)


def _encode_frame(
    plan: TraversePlan, frame: generation_pb2.Frame, pixels: Pixels, loaded: models_pb2.LoadedModel
) -> None:
    """Encode a frame that came as raw pixels, as the worker would have."""
    text = picture_facts(loaded.card, loaded.digest, frame.execution, plan.items[frame.index].facts)
    frame.encoded.CopyFrom(encode(pixels, plan.encoding.format, plan.encoding.quality, text))


def _assemble(
    plan: TraversePlan, shown: list[Pixels], loaded: models_pb2.LoadedModel
) -> generation_pb2.EncodedImage | None:
    match plan.assembly:
        case AnimationPlan():
            return animate(shown, plan.assembly)
        case GridPlan():
            text = picture_facts(loaded.card, loaded.digest, plan.frames[0].execution, plan.facts)
            return cut_grid(shown, plan.assembly, text)
        case _:
            return None
