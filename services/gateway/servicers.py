"""The gRPC services, thin: check the request against the card, hand items to the scheduler, shape the reply."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import numpy as np

from gantry.v1 import generation_pb2, generation_pb2_grpc, models_pb2, models_pb2_grpc, worker_pb2
from services.backends.base import ModelKey
from services.gateway.catalog import Catalog
from services.gateway.errors import ItemFailedError, answered
from services.gateway.metrics import Metrics, kind_label
from services.gateway.sampling import GridPlan, Limits, SamplePlan, plan_sample
from services.gateway.scheduler import Scheduler, abandon
from services.worker.imaging import encode, tile

Context = grpc.aio.ServicerContext[Any, Any]


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """Shows the cards."""

    def __init__(self, catalog: Catalog, refused: Sequence[models_pb2.RefusedArchive]) -> None:
        """Keep what the backend loaded and refused."""
        self._catalog, self._refused = catalog, refused

    async def ListModels(  # noqa: N802 (gRPC's name)
        self,
        request: models_pb2.ListModelsRequest,  # noqa: ARG002 (has no fields)
        context: Context,  # noqa: ARG002 (cannot fail)
    ) -> models_pb2.ListModelsResponse:
        """Answer gantry.v1.ModelService.ListModels."""
        return models_pb2.ListModelsResponse(models=self._catalog, refused=self._refused)

    async def GetModel(  # noqa: N802 (gRPC's name)
        self, request: models_pb2.GetModelRequest, context: Context
    ) -> models_pb2.GetModelResponse:
        """Answer gantry.v1.ModelService.GetModel."""
        async with answered(context):
            return models_pb2.GetModelResponse(model=self._catalog.find(request.model, request.version, field="model"))


class GenerationServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Makes pictures."""

    def __init__(
        self,
        catalog: Catalog,
        scheduler: Scheduler,
        limits: Limits,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """Keep what the calls need.

        Args:
            catalog: The loaded models.
            scheduler: Where work goes.
            limits: What one request may ask for.
            metrics: Where images are counted.
            clock: The scheduler's clock, in seconds.
        """
        self._catalog, self._scheduler, self._limits = catalog, scheduler, limits
        self._metrics, self._clock = metrics, clock

    async def Sample(  # noqa: N802 (gRPC's name)
        self, request: generation_pb2.SampleRequest, context: Context
    ) -> generation_pb2.SampleResponse:
        """Answer gantry.v1.GenerationService.Sample."""
        async with answered(context):
            loaded = self._catalog.find(request.model, request.version, field="model")
            plan = plan_sample(request, loaded.card, self._limits)
            results = self._submit(loaded, plan, context)
            try:
                images = [
                    _image(loaded, item, result)
                    for item, result in zip(plan.items, await asyncio.gather(*results), strict=True)
                ]
            finally:
                abandon(results)
            self._count_images(loaded, len(images))
            grid = await asyncio.to_thread(_cut_grid, loaded, plan.grid, plan.seed, images) if plan.grid else None
            return generation_pb2.SampleResponse(images=images, grid=grid, seed=plan.seed)

    async def SampleStream(  # noqa: N802 (gRPC's name)
        self, request: generation_pb2.SampleStreamRequest, context: Context
    ) -> AsyncIterator[generation_pb2.SampleStreamResponse]:
        """Answer gantry.v1.GenerationService.SampleStream."""
        async with answered(context):
            loaded = self._catalog.find(request.sample.model, request.sample.version, field="sample.model")
            plan = plan_sample(request.sample, loaded.card, self._limits, streamed=True)
            # Envelopes of one run of the graph: the first pictures are sent while the next are made.
            results = self._submit(loaded, plan, context, batch_items=loaded.card.execution.chunk_items)
            try:
                for index, (item, result) in enumerate(zip(plan.items, results, strict=True)):
                    image = _image(loaded, item, await result)
                    self._count_images(loaded, 1)
                    yield generation_pb2.SampleStreamResponse(image=image, index=index)
            finally:
                abandon(results)

    def _submit(
        self, loaded: models_pb2.LoadedModel, plan: SamplePlan, context: Context, batch_items: int | None = None
    ) -> list[asyncio.Future[worker_pb2.WorkResult]]:
        remaining = context.time_remaining()
        deadline = None if remaining is None else self._clock() + remaining
        key = ModelKey(loaded.card.name, loaded.card.version)
        return self._scheduler.submit(key, plan.items, deadline, batch_items)

    def _count_images(self, loaded: models_pb2.LoadedModel, images: int) -> None:
        self._metrics.images.labels(loaded.card.name, kind_label(loaded.card.kind)).inc(images)


def _image(
    loaded: models_pb2.LoadedModel, item: worker_pb2.WorkItem, result: worker_pb2.WorkResult
) -> generation_pb2.Image:
    if result.error:
        raise ItemFailedError(f"the image with seed {item.seed} could not be made: {result.error}")
    return generation_pb2.Image(
        encoded=result.image,
        seed=item.seed,
        label_id=item.label,
        label_name=loaded.card.classes[item.label].name,
        truncation=item.truncation,
        model=loaded.card.name,
        version=loaded.card.version,
        digest=loaded.digest,
    )


def _cut_grid(
    loaded: models_pb2.LoadedModel, grid: GridPlan, seed: int, images: Sequence[generation_pb2.Image]
) -> generation_pb2.EncodedImage:
    """Move the raw pixels of the images into one encoded grid."""
    tiles = []
    for image in images:
        size = image.encoded.height, image.encoded.width, image.encoded.channels
        tiles.append(np.frombuffer(image.encoded.data, np.uint8).reshape(size))
        image.encoded.data = b""
    facts = {
        "gantry:model": loaded.card.name,
        "gantry:version": loaded.card.version,
        "gantry:digest": loaded.digest,
        "gantry:seed": str(seed),
        "gantry:labels": ",".join(str(image.label_id) for image in images),
        "gantry:truncation": f"{images[0].truncation:g}",
    }
    return encode(tile(tiles, grid.columns, grid.gap), grid.format, grid.quality, facts)
