"""A picture through a translator's graph, each alone and on one thread, and back where that is asked for.

Pictures of any size go in: they are made smaller where the caller wishes, and padded to the size that the graph can
take by reflection, which is cut off again.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gantry.v1 import worker_pb2
from gantry.v1.generation_pb2 import DIRECTION_A_TO_B, DIRECTION_B_TO_A, Direction
from services.worker.archive import Archive
from services.worker.decoding import LEAST_SIDE, ImageError, decode
from services.worker.execution import ExecutionPlan
from services.worker.graph import load_graph
from services.worker.imaging import Pixels, to_pixels, to_values
from services.worker.inputs import ways_of
from services.worker.lowering import prepare, run_graph
from services.worker.outcome import Outcome, RawPicture

Floats = NDArray[np.float32]

_OPPOSITE = {DIRECTION_A_TO_B: DIRECTION_B_TO_A, DIRECTION_B_TO_A: DIRECTION_A_TO_B}


class TranslationModel:
    """Turns pictures of one domain into pictures of the other, one way or both.

    Attributes:
        chunk_items: The most items that it makes at once.
    """

    chunk_items = 1

    def __init__(self, archive: Archive, plan: ExecutionPlan) -> None:
        """Load the graphs and run each once, which compiles them where the plan says so.

        Args:
            archive: Of a model that takes a picture.
            plan: How the graphs run.

        Raises:
            ValueError: A graph does not give what the card says.
            Exception: A graph cannot be loaded or run, which can show in any way.
        """
        self._image = archive.card.image
        self._multiple = archive.card.translation.multiple
        self._graphs = {
            direction: prepare(load_graph(archive.graphs[graph.member]), plan)
            for direction, graph in ways_of(archive.card).items()
        }
        for direction in self._graphs:
            self._warm_up(direction)

    def find_fault(self, item: worker_pb2.WorkItem) -> str:
        """Say what is wrong with an item, leaving its picture and format aside; empty where nothing is."""
        if not item.HasField("translate"):
            return "work: must be `translate` for this model"
        work = item.translate
        if work.direction not in self._graphs:
            known = " or ".join(Direction.Name(direction) for direction in self._graphs)
            return f"direction {work.direction}: must be {known}"
        if work.cycle and len(self._graphs) == 1:
            return "cycle: must be false, since the model translates one way"
        if 0 < work.max_side < LEAST_SIDE:
            return f"max_side {work.max_side}: must be at least {LEAST_SIDE}, or 0"
        return ""

    def make(self, items: Sequence[worker_pb2.WorkItem]) -> list[Outcome]:
        """Make the pictures of a chunk.

        Args:
            items: Items without a fault.

        Returns:
            What came of each, in order.
        """
        return [self._outcome(item.translate) for item in items]

    def _outcome(self, work: worker_pb2.TranslateWork) -> Outcome:
        try:
            return self._translate(work)
        except ImageError as error:
            return worker_pb2.WorkResult(bad_image=str(error))

    def _translate(self, work: worker_pb2.TranslateWork) -> Outcome:
        sent = decode(work.image, work.max_pixels)
        small = _shrink(sent, work.max_side)
        there = self._run(work.direction, to_values(self._pad(small), self._image))
        back = self._run(_OPPOSITE[work.direction], there) if work.cycle else None
        if not all(np.isfinite(values).all() for values in (there, back) if values is not None):
            return worker_pb2.WorkResult(error="the model gave values that are not finite")
        translated = self._restore(there, small, sent)
        if back is None:
            return RawPicture(translated)
        cycled = self._restore(back, small, sent)
        return RawPicture(translated, cycled, _mean_difference(sent, cycled))

    def _run(self, direction: "Direction.ValueType", values: Floats) -> Floats:
        """Run a graph on one picture, float32 [height, width, 3] in the card's value range."""
        made: Floats = run_graph(self._graphs[direction], values[None])[0]
        return made

    def _warm_up(self, direction: "Direction.ValueType") -> None:
        unit = self._padded_side(LEAST_SIDE)
        values = np.zeros((2 * unit, 3 * unit, 3), np.float32)
        made = self._run(direction, values)
        if made.shape != values.shape:
            raise ValueError(f"the graph gives pictures [H, W, C] = {made.shape}, and was given {values.shape}")

    def _padded_side(self, side: int) -> int:
        return -(-side // self._multiple) * self._multiple

    def _pad(self, pixels: Pixels) -> Pixels:
        """Reflect a picture at its right and lower edge up to the next size that the graph can take."""
        height, width = pixels.shape[:2]
        missing = ((0, self._padded_side(height) - height), (0, self._padded_side(width) - width), (0, 0))
        return np.pad(pixels, missing, mode="reflect")

    def _restore(self, values: Floats, small: Pixels, sent: Pixels) -> Pixels:
        """Cut the padding off, and bring a picture to the size of the one that was sent."""
        height, width = small.shape[:2]
        return _resize(to_pixels(values[:height, :width], self._image), sent.shape[1], sent.shape[0])


def _shrink(pixels: Pixels, max_side: int) -> Pixels:
    """Make a picture smaller whose longer side is over `max_side`; 0 for no limit."""
    height, width = pixels.shape[:2]
    if not 0 < max_side < max(height, width):
        return pixels
    scale = max_side / max(height, width)
    return _resize(pixels, max(LEAST_SIDE, round(width * scale)), max(LEAST_SIDE, round(height * scale)))


def _resize(pixels: Pixels, width: int, height: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def _mean_difference(first: Pixels, second: Pixels) -> float:
    """Mean absolute difference of two pictures, 0 to 1."""
    return float(np.abs(first.astype(np.int16) - second).mean() / 255)
