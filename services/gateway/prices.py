"""What work costs: the predicted seconds of an item and of an envelope, learnt for each model on this machine.

An envelope costs a fixed part, and a part for each unit of work: a picture from a latent is one unit, a translation as
many as it has megapixels each way. The graph runs on whole chunks, so an empty place of the last one is a unit too. To
that comes the encoding, by format. All are learnt from envelopes that come back.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import IMAGE_FORMAT_JPEG, IMAGE_FORMAT_PNG, IMAGE_FORMAT_RAW, IMAGE_FORMAT_WEBP

# Share of an error that one envelope mends; the first few mend more.
_STEP = 0.2
# One that takes so many times as long as expected says more of the machine than of the model.
_MOST_TIMES = 3.0
# Seconds for a megapixel, until a model has encoded one in the format. Measured on one core, quality 90.
_FIRST_ENCODING: Mapping[int, float] = {
    IMAGE_FORMAT_PNG: 0.15,
    IMAGE_FORMAT_JPEG: 0.02,
    IMAGE_FORMAT_WEBP: 0.15,
    IMAGE_FORMAT_RAW: 0.002,
}
_LEAST_SECONDS = 1e-6
# An envelope of another size is so many times as large, or as small.
_OTHER_SIZE = 2.0
_MEGA = 1e6


@dataclass(frozen=True)
class Work:
    """How much there is to do for an item.

    Attributes:
        units: For the graph.
        megapixels: To be encoded.
        format: How.
    """

    units: float
    megapixels: float
    format: int


def work_of(card: models_pb2.ModelCard, item: worker_pb2.WorkItem) -> Work:
    """Say how much there is to do.

    Args:
        card: The model's card.
        item: One of its items.
    """
    if not item.HasField("translate"):
        return Work(1.0, card.image.width * card.image.height / _MEGA, item.format)
    work = item.translate
    ways = 2 if work.cycle else 1
    return Work(ways * work.graph_pixels / _MEGA, ways * work.pixels / _MEGA, item.format)


class Prices:
    """What one model costs.

    Attributes:
        chunk_items: Places of a chunk.
        fixed: Seconds of an envelope, whatever is in it.
        deviation: How far predictions are off, as a share of them.
    """

    def __init__(self, chunk_items: int = 1) -> None:
        """Begin without knowing: everything is free until an envelope is back.

        Args:
            chunk_items: Places of a chunk.
        """
        self.chunk_items = chunk_items
        self.fixed, self.deviation = 0.0, 0.0
        self._unit, self._scale = 0.0, 0.0
        self._encoding: dict[int, float] = {}
        # Half of an envelope is held to be the fixed part, until one of another size is back.
        self._is_split = False
        self._seen = 0

    @property
    def is_known(self) -> bool:
        """Whether an envelope is back."""
        return bool(self._scale)

    def seconds(self, work: Work) -> float:
        """Predict the seconds that an item adds to an envelope."""
        return self._unit * work.units + self._encoding_rate(work.format) * work.megapixels

    def padding(self, items: int) -> float:
        """Predict the seconds that the empty places of the last chunk take, beside so many items."""
        return self._unit * self._empty_places(items)

    def envelope(self, works: Collection[Work]) -> float:
        """Predict the seconds of an envelope."""
        return self.fixed + sum(map(self.seconds, works)) + self.padding(len(works))

    def learn(self, works: Sequence[Work], seconds: float, encode_seconds: float) -> None:
        """Take note of an envelope that is back.

        Args:
            works: What was in it.
            seconds: How long it was away.
            encode_seconds: How much of that went into encoding.
        """
        units = sum(work.units for work in works) + self._empty_places(len(works))
        # A worker with several threads says what they took together.
        encode_seconds = min(encode_seconds, seconds)
        self._learn_encoding(works, encode_seconds)
        graph_seconds = seconds - encode_seconds
        self._seen += 1
        if not self.is_known:
            self.fixed, self._unit, self._scale = graph_seconds / 2, graph_seconds / (2 * units), units
        elif not self._is_split and not 1 / _OTHER_SIZE < units / self._scale < _OTHER_SIZE:
            self._split(units, graph_seconds)
        else:
            self._step(units, graph_seconds)

    def _empty_places(self, items: int) -> int:
        return -items % self.chunk_items

    def _split(self, units: float, seconds: float) -> None:
        """Tell the two parts apart, by an envelope of another size than all before."""
        before = self.fixed + self._unit * self._scale
        self._unit = max((seconds - before) / (units - self._scale), 0.01 * seconds / units)
        self.fixed = max(seconds - self._unit * units, 0.0)
        self._scale, self._is_split = units, True

    def _step(self, units: float, seconds: float) -> None:
        """Take a step towards what an envelope took (normalised least mean squares; Widrow & Hoff, 1960)."""
        expected = max(self.fixed + self._unit * units, _LEAST_SECONDS)
        error = min(seconds, _MOST_TIMES * expected) - expected
        share = max(_STEP, 1 / self._seen)
        self.deviation += share * (abs(error) / expected - self.deviation)
        size = units / self._scale
        step = share * error / (1 + size * size)
        self.fixed = max(self.fixed + step, 0.0)
        self._unit = max(self._unit + step * size / self._scale, 0.01 * expected / units)

    def _encoding_rate(self, image_format: int) -> float:
        return self._encoding.get(image_format, _FIRST_ENCODING.get(image_format, 0.0)) if self.is_known else 0.0

    def _learn_encoding(self, works: Sequence[Work], seconds: float) -> None:
        formats, megapixels = {work.format for work in works}, sum(work.megapixels for work in works)
        if len(formats) == 1 and megapixels:
            (image_format,) = formats
            before = self._encoding.get(image_format, seconds / megapixels)
            self._encoding[image_format] = before + _STEP * (seconds / megapixels - before)
