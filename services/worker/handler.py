"""TorchServe's entry point. In an archive this file lies at the root, beside the packages it imports."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.worker.runner import Runner

# The input field of a Predictions call that carries the envelope, a serialized gantry.v1.WorkRequest.
ENVELOPE_FIELD = "envelope"
# The environment variables with the settings of `services.worker.execution`.
EXECUTION_VARIABLE = "GANTRY_EXECUTION"
DEVICE_VARIABLE = "GANTRY_DEVICE"


class GantryHandler:
    """Answers each request of a TorchServe batch with one serialized gantry.v1.WorkReply."""

    _runner: "Runner"

    def initialize(self, context: Any) -> None:
        """Check the unpacked archive and load its model.

        Args:
            context: TorchServe's context; its `model_dir` is the folder of the archive, `gpu_id` the GPU it gives.

        Raises:
            ArchiveError: The archive is not to be served; TorchServe then marks the model as failed.
            ValueError: The environment has a setting that does not exist.
        """
        folder = context.system_properties["model_dir"]
        # The archive's own worker code comes before any that is installed beside TorchServe.
        sys.path.insert(0, folder)
        from services.worker.archive import open_archive
        from services.worker.execution import parse_device, parse_execution
        from services.worker.runner import Runner

        execution = parse_execution(os.environ.get(EXECUTION_VARIABLE, "auto"))
        device: str = parse_device(os.environ.get(DEVICE_VARIABLE, "cpu"))
        gpu = context.system_properties.get("gpu_id")
        if device == "cuda" and gpu is not None:
            device = f"cuda:{gpu}"
        self._runner = Runner(open_archive(Path(folder)), execution, device)

    def handle(self, data: Sequence[Mapping[str, bytes]], context: Any) -> list[bytes]:  # noqa: ARG002
        """Run the envelopes.

        Args:
            data: One mapping per request, with the envelope under `ENVELOPE_FIELD`.
            context: Unused.

        Returns:
            One serialized reply per request. An envelope that cannot be read gets a reply with one error.
        """
        return [self._answer(request) for request in data]

    def _answer(self, request: Mapping[str, bytes]) -> bytes:
        from google.protobuf.message import DecodeError

        from gantry.v1 import worker_pb2

        try:
            envelope = worker_pb2.WorkRequest.FromString(bytes(request[ENVELOPE_FIELD]))
        except (KeyError, DecodeError, TypeError):
            fault = worker_pb2.WorkResult(error=f"{ENVELOPE_FIELD}: must be a serialized gantry.v1.WorkRequest")
            return worker_pb2.WorkReply(results=[fault]).SerializeToString()
        return self._runner.run(envelope).SerializeToString()
