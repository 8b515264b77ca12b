"""Latents and conditions through a generator's graph, in chunks of one size.

The graph always runs on batches of the same size, on one thread. A kernel may sum in another order for another batch
size or thread count; with both fixed, and a row's place in the batch without effect, a picture's bytes depend on
nothing but the archive, its inputs and its seed. A graph that makes another picture in another place or company (it
may use statistics of its batch, or a kernel may treat the last values of a tensor apart) runs on batches of one.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gantry.v1 import worker_pb2
from services.worker.archive import Archive
from services.worker.execution import ExecutionPlan
from services.worker.graph import load_graph
from services.worker.imaging import to_pixels
from services.worker.inputs import condition_bounds, neutral_condition
from services.worker.latents import draw_latent, find_latent_fault, latent_of
from services.worker.lowering import prepare, run_graph
from services.worker.outcome import Outcome, RawPicture

Floats = NDArray[np.float32]


class GenerationModel:
    """Makes pictures from latents, and conditions where the graph takes them.

    Attributes:
        chunk_items: The most items that it makes at once.
    """

    def __init__(self, archive: Archive, plan: ExecutionPlan) -> None:
        """Load the graph and run it once.

        Args:
            archive: Of a model that takes a latent.
            plan: How the graph runs.

        Raises:
            ValueError: The graph does not give what the card says.
            Exception: The graph cannot be loaded or run, which can show in any way.
        """
        self._card = archive.card
        self._condition_size = len(condition_bounds(archive.card))
        self.chunk_items = archive.card.execution.chunk_items
        (graph,) = archive.card.graphs
        self._graph = prepare(load_graph(archive.graphs[graph.member]), plan)
        self._warm_up()

    def find_fault(self, item: worker_pb2.WorkItem) -> str:
        """Say what is wrong with an item, leaving its format aside; empty where nothing is."""
        if not item.HasField("generate"):
            return "work: must be `generate` for this model"
        work = item.generate
        if len(work.condition) != self._condition_size:
            return f"condition of {len(work.condition)} values: must be {self._condition_size}"
        if not all(math.isfinite(value) for value in work.condition):
            return "condition: must be finite"
        if not 0.0 <= work.truncation <= 1.0:
            return f"truncation {work.truncation:g}: must be 0 to 1"
        return find_latent_fault(work)

    def make(self, items: Sequence[worker_pb2.WorkItem]) -> list[Outcome]:
        """Make the pictures of a chunk.

        Args:
            items: At most `chunk_items` items without a fault.

        Returns:
            What came of each, in order.
        """
        return [self._outcome(values) for values in self.values_of([item.generate for item in items])]

    def values_of(self, works: Sequence[worker_pb2.GenerateWork]) -> Floats:
        """Return what the graph makes of at most `chunk_items` works, float32 [N, height, width, channels]."""
        size = self._card.latent.size
        latents = np.stack([latent_of(work, size) * np.float32(work.truncation) for work in works])
        return self._run_chunk(latents, np.array([work.condition for work in works], np.float32))

    def _warm_up(self) -> None:
        """Run a chunk with every condition, or as many as it holds, and see whether its pictures are the same alone."""
        image = self._card.image
        latents = np.stack([draw_latent(seed, self._card.latent.size) for seed in range(self.chunk_items)])
        conditions = self._extremes(self.chunk_items)
        pictures = self._run_chunk(latents, conditions)
        expected = (len(latents), image.height, image.width, image.channels)
        if pictures.shape != expected:
            raise ValueError(f"the graph gives pictures [N, H, W, C] = {pictures.shape}, the card says {expected}")
        alone = [self._run_chunk(latents[row : row + 1], conditions[row : row + 1]) for row in range(len(latents))]
        if not np.array_equal(np.concatenate(alone), pictures, equal_nan=True):
            self.chunk_items = 1

    def _extremes(self, rows: int) -> Floats:
        """Neutral conditions, but for one value of each, in turn, that is the greatest it can be."""
        neutral = np.array(neutral_condition(self._card), np.float32)
        greatest = np.array([high for _, high in condition_bounds(self._card)], np.float32)
        chosen = np.resize(np.eye(len(neutral), dtype=bool)[::-1], (rows, len(neutral)))
        return np.where(chosen, greatest, neutral)

    def _run_chunk(self, latents: Floats, conditions: Floats) -> Floats:
        """Run at most one chunk, padded with zeros; float32 [rows, height, width, channels]."""
        rows, missing = len(latents), self.chunk_items - len(latents)
        inputs = (latents, conditions) if self._condition_size else (latents,)
        return run_graph(self._graph, *(np.pad(values, ((0, missing), (0, 0))) for values in inputs))[:rows]

    def _outcome(self, values: Floats) -> Outcome:
        if not np.isfinite(values).all():
            return worker_pb2.WorkResult(error="the model gave values that are not finite")
        return RawPicture(to_pixels(values, self._card.image))
