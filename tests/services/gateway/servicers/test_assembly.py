"""Frames put together: what a reader of the file gets back is what was put in."""

import io

import numpy as np
import pytest
from PIL import Image

from gantry.v1.generation_pb2 import IMAGE_FORMAT_PNG, IMAGE_FORMAT_WEBP, EncodedImage
from services.gateway.planning.output import Encoding, GridPlan
from services.gateway.planning.traverse import AnimationPlan
from services.gateway.servicers.assembly import animate, cut_grid, pixels_of
from services.worker.imaging import Pixels


def frames(count: int, channels: int) -> list[Pixels]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (5, 7, channels), np.uint8) for _ in range(count)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("back_and_forth", "order"), [(False, [0, 1, 2, 3]), (True, [0, 1, 2, 3, 2, 1])])
def test_an_animation_shows_every_frame_exactly(channels: int, back_and_forth: bool, order: list[int]) -> None:
    shown = frames(4, channels)
    encoded = animate(shown, AnimationPlan(70, back_and_forth))
    assert (encoded.width, encoded.height, encoded.channels, encoded.format) == (7, 5, channels, IMAGE_FORMAT_WEBP)
    film = Image.open(io.BytesIO(encoded.data))
    assert (film.n_frames, film.info["loop"]) == (len(order), 0)
    for place, index in enumerate(order):
        film.seek(place)
        assert (np.asarray(film.convert("RGB")) == np.broadcast_to(shown[index], (5, 7, 3))).all()
        assert film.info["duration"] == 70


def test_a_single_frame_is_a_picture() -> None:
    (frame,) = frames(1, 3)
    encoded = animate([frame], AnimationPlan(70, back_and_forth=True))
    assert (np.asarray(Image.open(io.BytesIO(encoded.data)).convert("RGB")) == frame).all()


def test_a_grid_is_cut_from_raw_pictures() -> None:
    tiles = [pixels_of(EncodedImage(data=frame.tobytes(), width=7, height=5, channels=3)) for frame in frames(3, 3)]
    grid = cut_grid(tiles, GridPlan(2, 1, Encoding(IMAGE_FORMAT_PNG, 90)), {"gantry:seed": "4"})
    sheet = Image.open(io.BytesIO(grid.data))
    assert sheet.text == {"gantry:seed": "4"}
    pixels = np.asarray(sheet)
    assert pixels.shape == (11, 15, 3)
    assert (pixels[6:, :7] == tiles[2]).all()
    assert (pixels[:5, 8:] == tiles[1]).all()
    assert (pixels[6:, 8:] == 255).all()
