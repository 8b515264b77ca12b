"""One envelope through a model: items → latents → graph → encoded pictures → results.

The graph always runs on batches of the same size, on one thread. A kernel may sum in another order for another batch
size or thread count; with both fixed, and a row's place in the batch without effect, a picture's bytes depend on
nothing but the archive, its inputs and its seed. A graph that makes another picture in another place or company (it
may use statistics of its batch, or a kernel may treat the last values of a tensor apart) runs on batches of one.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from gantry.v1 import worker_pb2
from services.worker.archive import Archive, ArchiveError
from services.worker.graph import load_graph, run_graph
from services.worker.imaging import FORMATS, LOSSY_FORMATS, Pixels, encode
from services.worker.latents import draw_latent


class Runner:
    """Runs envelopes on the model of one archive; safe to call from several threads at once."""

    def __init__(self, archive: Archive) -> None:
        """Load the graph of an archive and run it once.

        Args:
            archive: The archive, already checked.

        Raises:
            ArchiveError: The graph cannot be loaded, or does not give what the card says.
        """
        self._card = archive.card
        self._card_json = archive.card_json
        self._digest = archive.digest
        self._chunk_items = self._card.execution.chunk_items
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="gantry-chunk")
        try:
            self._graph = load_graph(archive.graph)
            self._warm_up()
        except Exception as error:
            # A graph that does not belong to its card can fail in any way.
            raise ArchiveError(f"model.pt2: {error}") from error

    def run(self, request: worker_pb2.WorkRequest) -> worker_pb2.WorkReply:
        """Run one envelope.

        Args:
            request: The items; with none, the worker only describes itself.

        Returns:
            One result per item, in order. An item at fault gets an error of its own and never touches the others.
        """
        if not request.items:
            return worker_pb2.WorkReply(description=worker_pb2.WorkerDescription(card_json=self._card_json))
        faults = [self._fault(item) for item in request.items]
        sound = [item for item, fault in zip(request.items, faults, strict=True) if not fault]
        started = time.perf_counter()
        pictures = self._make(sound)
        run_ended = time.perf_counter()
        results = [
            worker_pb2.WorkResult(error=fault) if fault else self._encode(item, next(pictures))
            for item, fault in zip(request.items, faults, strict=True)
        ]
        return worker_pb2.WorkReply(
            results=results,
            run_seconds=run_ended - started,
            encode_seconds=time.perf_counter() - run_ended,
        )

    def _warm_up(self) -> None:
        """Run a batch of all classes, or of as many as it holds, and see whether its pictures are the same alone."""
        image, classes = self._card.image, len(self._card.classes)
        items = [
            worker_pb2.WorkItem(seed=seed, label=(classes - 1 - seed) % classes, truncation=1.0)
            for seed in range(self._chunk_items)
        ]
        pictures = self._run_chunk(items)
        expected = (len(items), image.height, image.width, image.channels)
        if pictures.shape != expected:
            raise ValueError(f"the graph gives pictures [N, H, W, C] = {pictures.shape}, the card says {expected}")
        alone = np.concatenate([self._run_chunk([item]) for item in items])
        if not np.array_equal(alone, pictures, equal_nan=True):
            self._chunk_items = 1

    def _fault(self, item: worker_pb2.WorkItem) -> str:
        """Say what is wrong with an item; empty where nothing is."""
        classes = len(self._card.classes)
        if item.label >= classes:
            return f"label {item.label}: must be below {classes}"
        if not 0.0 <= item.truncation <= 1.0:
            return f"truncation {item.truncation}: must be 0 to 1"
        if item.format not in FORMATS:
            return f"format {item.format}: cannot be encoded"
        if item.format in LOSSY_FORMATS and not 1 <= item.quality <= 100:
            return f"quality {item.quality}: must be 1 to 100"
        return ""

    def _make(self, items: Sequence[worker_pb2.WorkItem]) -> Iterator[NDArray[np.float32]]:
        size = self._chunk_items
        parts = [items[start : start + size] for start in range(0, len(items), size)]
        # A single chunk stays on this thread; several share the cores, as torch gives up the interpreter lock.
        chunks = map(self._run_chunk, parts) if len(parts) == 1 else self._threads.map(self._run_chunk, parts)
        return iter([picture for chunk in chunks for picture in chunk])

    def _run_chunk(self, items: Sequence[worker_pb2.WorkItem]) -> NDArray[np.float32]:
        """Run at most one batch of items, padded with zeros; float32 [len(items), height, width, channels]."""
        size = self._chunk_items
        latents = np.zeros((size, self._card.latent.size), np.float32)
        labels = np.zeros(size, np.int64)
        for row, item in enumerate(items):
            latents[row] = draw_latent(item.seed, self._card.latent.size) * np.float32(item.truncation)
            labels[row] = item.label
        # A setting of the thread that runs the graph, not of the process.
        torch.set_num_threads(1)
        pictures = run_graph(self._graph, torch.from_numpy(latents), torch.from_numpy(labels))
        return pictures[: len(items)].permute(0, 2, 3, 1).numpy()

    def _encode(self, item: worker_pb2.WorkItem, picture: NDArray[np.float32]) -> worker_pb2.WorkResult:
        if not np.isfinite(picture).all():
            return worker_pb2.WorkResult(error="the model gave values that are not finite")
        try:
            image = encode(self._to_pixels(picture), item.format, item.quality, self._facts(item))
        except (ValueError, OSError):
            return worker_pb2.WorkResult(error="the picture could not be encoded")
        return worker_pb2.WorkResult(image=image)

    def _to_pixels(self, picture: NDArray[np.float32]) -> Pixels:
        low, high = self._card.image.value_min, self._card.image.value_max
        pixels: Pixels = np.rint((picture - low) * (255.0 / (high - low))).clip(0, 255).astype(np.uint8)
        return pixels

    def _facts(self, item: worker_pb2.WorkItem) -> dict[str, str]:
        """What a PNG tells of itself: enough to make it again."""
        return {
            "gantry:model": self._card.name,
            "gantry:version": self._card.version,
            "gantry:digest": self._digest,
            "gantry:seed": str(item.seed),
            "gantry:label_id": str(item.label),
            "gantry:label_name": self._card.classes[item.label].name,
            "gantry:truncation": f"{item.truncation:g}",
        }
