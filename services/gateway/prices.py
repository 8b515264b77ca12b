"""What work costs: the predicted seconds of an item and of an envelope, learnt for each model on this machine.

An envelope costs a fixed part; each place of its chunks, empty or not, a part; and each megapixel that a translation
reads a part, each way. To that comes the encoding, by format. All are learnt from envelopes that come back.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import IMAGE_FORMAT_JPEG, IMAGE_FORMAT_PNG, IMAGE_FORMAT_RAW, IMAGE_FORMAT_WEBP

# Share of an error that one envelope mends.
_STEP = 0.2
# One that takes so many times as long as expected says more of the machine than of the model.
_MOST_TIMES = 3.0
# The first envelopes are remembered: prices are what fits them best, found in so many sweeps over them.
_FIRST_ENVELOPES, _SWEEPS, _FIRST_SWEEPS = 8, 100, 20
# Seconds for a megapixel, until a model has encoded one in the format. Measured on one core, quality 90.
_FIRST_ENCODING: Mapping[int, float] = {
    IMAGE_FORMAT_PNG: 0.15,
    IMAGE_FORMAT_JPEG: 0.02,
    IMAGE_FORMAT_WEBP: 0.15,
    IMAGE_FORMAT_RAW: 0.002,
}
_LEAST_SECONDS = 1e-6
# Of an envelope, that its places cost.
_LEAST_SHARE = 0.01
_MEGA = 1e6


class Work(NamedTuple):
    """How much there is to do for an item.

    Attributes:
        passes: Times that the graph runs on it.
        units: Megapixels that the graph reads in all of them; 0 where all pictures of a model have one size.
        megapixels: To be encoded.
        format: How.
    """

    passes: int
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
        return Work(1, 0.0, card.image.width * card.image.height / _MEGA, item.format)
    work = item.translate
    ways = 2 if work.cycle else 1
    return Work(ways, ways * work.graph_pixels / _MEGA, ways * work.pixels / _MEGA, item.format)


class Prices:
    """What one model costs.

    Attributes:
        chunk_items: Places of a chunk.
        deviation: How far predictions are off, as a share of them.
    """

    def __init__(self, chunk_items: int = 1) -> None:
        """Begin without knowing: everything is free until an envelope is back.

        Args:
            chunk_items: Places of a chunk.
        """
        self.chunk_items, self.deviation = chunk_items, 0.0
        # Seconds of an envelope, of a place and of a unit; and the most of each that an early envelope had.
        self._parts, self._scales = [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]
        self._first: list[tuple[Sequence[float], float]] = []
        self._encoding: dict[int, float] = {}

    @property
    def is_known(self) -> bool:
        """Whether an envelope is back."""
        return bool(self._first)

    @property
    def fixed(self) -> float:
        """Seconds of an envelope, whatever is in it."""
        return self._parts[0]

    @property
    def place(self) -> float:
        """Seconds of a place of a chunk."""
        return self._parts[1]

    def seconds(self, work: Work) -> float:
        """Predict the seconds that an item adds to an envelope."""
        _, place, unit = self._parts
        return place * work.passes + unit * work.units + self._encoding_rate(work.format) * work.megapixels

    def padding(self, items: int) -> float:
        """Predict the seconds that the empty places of the last chunk take, beside so many items."""
        return self.place * self._empty_places(items)

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
        # A worker with several threads says what they took together.
        encode_seconds = min(encode_seconds, seconds)
        self._learn_encoding(works, encode_seconds)
        places = sum(work.passes for work in works) + self._empty_places(len(works))
        sizes, graph_seconds = (1.0, float(places), sum(work.units for work in works)), seconds - encode_seconds
        if self.is_known:
            expected = self._expected(sizes)
            self.deviation += _STEP * (min(abs(graph_seconds / expected - 1), _MOST_TIMES) - self.deviation)
        if len(self._first) < _FIRST_ENVELOPES:
            self._first.append((sizes, graph_seconds))
            self._fit()
        else:
            self._step(sizes, min(graph_seconds, _MOST_TIMES * self._expected(sizes)), _STEP)

    def _empty_places(self, items: int) -> int:
        return -items % self.chunk_items

    def _expected(self, sizes: Sequence[float]) -> float:
        return max(sum(part * size for part, size in zip(self._parts, sizes, strict=True)), _LEAST_SECONDS)

    def _fit(self) -> None:
        """Find the prices that fit the first envelopes best (Kaczmarz, 1937, with steps that become smaller)."""
        self._scales = [max(sizes) for sizes in zip(*(sizes for sizes, _ in self._first), strict=True)]
        for sweep in range(_SWEEPS):
            for sizes, seconds in self._first:
                self._step(sizes, seconds, 1 / (1 + sweep / _FIRST_SWEEPS))

    def _step(self, sizes: Sequence[float], seconds: float, share: float) -> None:
        """Mend a share of the error of what an envelope took (normalised least mean squares; Widrow & Hoff, 1960)."""
        scaled = [size / scale if scale else 0.0 for size, scale in zip(sizes, self._scales, strict=True)]
        expected = self._expected(sizes)
        step = share * (seconds - expected) / sum(size * size for size in scaled)
        # No item is free: shares are counted in seconds.
        least = (0.0, _LEAST_SHARE * expected / sizes[1], 0.0)
        for part, (size, scale) in enumerate(zip(scaled, self._scales, strict=True)):
            if scale:
                self._parts[part] = max(self._parts[part] + step * size / scale, least[part])

    def _encoding_rate(self, image_format: int) -> float:
        return self._encoding.get(image_format, _FIRST_ENCODING.get(image_format, 0.0)) if self.is_known else 0.0

    def _learn_encoding(self, works: Sequence[Work], seconds: float) -> None:
        formats, megapixels = {work.format for work in works}, sum(work.megapixels for work in works)
        if len(formats) == 1 and megapixels:
            (image_format,) = formats
            before = self._encoding.get(image_format, seconds / megapixels)
            self._encoding[image_format] = before + _STEP * (seconds / megapixels - before)
