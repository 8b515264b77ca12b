"""What comes of an item: a picture, or the reason why there is none."""

from dataclasses import dataclass

from gantry.v1 import worker_pb2
from services.worker.imaging import Pixels


@dataclass(frozen=True)
class RawPicture:
    """A picture that is yet to be encoded.

    Attributes:
        pixels: uint8 [height, width, channels].
        cycled: The picture translated back, of the same shape, where that was asked for.
        cycle_l1: Mean absolute difference between the picture sent and `cycled`, 0 to 1.
    """

    pixels: Pixels
    cycled: Pixels | None = None
    cycle_l1: float | None = None


# A failure is a result already: with `error` or `bad_image`.
Outcome = RawPicture | worker_pb2.WorkResult
