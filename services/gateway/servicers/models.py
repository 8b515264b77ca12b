"""gantry.v1.ModelService: shows the cards."""

from typing import Any

import grpc

from gantry.v1 import models_pb2, models_pb2_grpc
from services.backends.base import Backend
from services.gateway.call import EVERY_MODEL, caller_may_use, current_call
from services.gateway.catalog import Catalog
from services.gateway.errors import answered

Context = grpc.aio.ServicerContext[Any, Any]


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """Shows the cards."""

    def __init__(self, catalog: Catalog, backend: Backend) -> None:
        """Keep what the calls need.

        Args:
            catalog: The loaded models.
            backend: Knows the archives that were refused.
        """
        self._catalog, self._backend = catalog, backend

    async def ListModels(  # noqa: N802 (gRPC's name)
        self,
        request: models_pb2.ListModelsRequest,  # noqa: ARG002 (has no fields)
        context: Context,  # noqa: ARG002 (cannot fail)
    ) -> models_pb2.ListModelsResponse:
        """Answer gantry.v1.ModelService.ListModels."""
        # The name of a refused archive tells of a model that the caller may not be meant to know.
        refused = self._backend.refused if caller_may_use(EVERY_MODEL) else ()
        return models_pb2.ListModelsResponse(models=self._catalog, refused=refused)

    async def GetModel(  # noqa: N802 (gRPC's name)
        self, request: models_pb2.GetModelRequest, context: Context
    ) -> models_pb2.GetModelResponse:
        """Answer gantry.v1.ModelService.GetModel."""
        async with answered(context):
            found = self._catalog.find(request.model, request.version, field="model")
            return models_pb2.GetModelResponse(model=current_call().about(found))
