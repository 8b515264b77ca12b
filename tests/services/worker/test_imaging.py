"""Pixels to files and back."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from services.worker.imaging import FORMATS, Pixels, encode, picture_facts, tile, to_pixels, to_values

PNG, JPEG = generation_pb2.IMAGE_FORMAT_PNG, generation_pb2.IMAGE_FORMAT_JPEG
WEBP, RAW = generation_pb2.IMAGE_FORMAT_WEBP, generation_pb2.IMAGE_FORMAT_RAW


def gradient(height: int, width: int, channels: int) -> Pixels:
    """A smooth picture in which every channel differs."""
    rows, columns, depth = np.mgrid[0:height, 0:width, 0:channels]
    return np.clip(rows * 5 + columns * 3 + depth * 40, 0, 255).astype(np.uint8)


def decode(data: bytes, channels: int) -> Pixels:
    picture = Image.open(io.BytesIO(data)).convert("L" if channels == 1 else "RGB")
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("image_format", "quality"), [(PNG, 1), (WEBP, 100)])
def test_lossless_formats_give_the_pixels_back(image_format: int, quality: int, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, channels), np.uint8)
    encoded = encode(pixels, image_format, quality, {})
    assert np.array_equal(decode(encoded.data, channels), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_format", [JPEG, WEBP])
def test_lossy_formats_come_close(image_format: int, channels: int) -> None:
    pixels = gradient(16, 24, channels)
    decoded = decode(encode(pixels, image_format, 95, {}).data, channels)
    assert np.abs(decoded.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("image_format", [JPEG, WEBP])
def test_quality_has_an_effect(image_format: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sizes = [len(encode(pixels, image_format, quality, {}).data) for quality in (1, 50, 99)]
    assert sizes == sorted(set(sizes))


def test_raw_is_rows_of_pixels_of_channels() -> None:
    pixels = gradient(2, 3, 3)
    data = encode(pixels, RAW, 0, {}).data
    assert list(data) == [int(pixels[y, x, c]) for y in range(2) for x in range(3) for c in range(3)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_format", sorted(FORMATS))
def test_size_and_format_are_told(image_format: int, channels: int) -> None:
    encoded = encode(gradient(7, 11, channels), image_format, 90, {})
    assert (encoded.width, encoded.height, encoded.channels, encoded.format) == (11, 7, channels, image_format)


@pytest.mark.parametrize("image_format", sorted(FORMATS))
def test_same_pixels_same_bytes(image_format: int) -> None:
    first, second = (encode(gradient(16, 16, 3), image_format, 80, {"gantry:seed": "1"}) for _ in range(2))
    assert first == second


def test_png_holds_its_text_in_any_script() -> None:
    text = {"gantry:seed": "18446744073709551615", "gantry:label_name": "zebra", "gantry:model": "斑馬 é"}
    picture = Image.open(io.BytesIO(encode(gradient(4, 4, 1), PNG, 0, text).data))
    assert picture.text == text


@pytest.mark.parametrize("image_format", [0, 5, 99])
def test_other_formats_are_refused(image_format: int) -> None:
    with pytest.raises(ValueError, match=r"cannot encode|no name"):
        encode(gradient(4, 4, 1), image_format, 90, {})


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.sampled_from([1, 3]),
    count=st.integers(1, 12),
    columns=st.integers(1, 5),
    gap=st.integers(0, 4),
)
def test_tiles_lie_row_by_row_on_white(
    height: int, width: int, channels: int, count: int, columns: int, gap: int
) -> None:
    tiles = [np.full((height, width, channels), value, np.uint8) for value in range(count)]
    sheet = tile(tiles, columns, gap)
    rows = -(-count // columns)
    assert sheet.shape == (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    rest = sheet.astype(int)
    for index in range(count):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        assert (sheet[top : top + height, left : left + width] == index).all()
        rest[top : top + height, left : left + width] = 255
    assert (rest == 255).all()


def test_the_value_range_becomes_bytes() -> None:
    image = models_pb2.ImageSpec(value_min=-1.0, value_max=3.0)
    values = np.array([-5.0, -1.0, 0.0, 1.0, 3.0, 9.0], np.float32)
    assert to_pixels(values, image).tolist() == [0, 0, 64, 128, 255, 255]


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-3.5, 0.25)])
def test_values_of_bytes_give_the_bytes_back(low: float, high: float) -> None:
    image = models_pb2.ImageSpec(value_min=low, value_max=high)
    pixels = np.arange(256, dtype=np.uint8)
    values = to_values(pixels, image)
    assert values.dtype == np.float32
    assert (values.min(), values.max()) == pytest.approx((low, high), abs=1e-5)
    assert np.array_equal(to_pixels(values, image), pixels)


def test_a_picture_tells_its_model_and_plan_first_and_then_what_the_item_brought() -> None:
    card = models_pb2.ModelCard(name="tiny", version="1.0.0")
    facts = [worker_pb2.Fact(key="gantry:seed", value="7"), worker_pb2.Fact(key="gantry:code:c1", value="0.5")]
    assert list(picture_facts(card, "d" * 64, "cpu-float32-eager", facts).items()) == [
        ("gantry:model", "tiny"),
        ("gantry:version", "1.0.0"),
        ("gantry:digest", "d" * 64),
        ("gantry:execution", "cpu-float32-eager"),
        ("gantry:seed", "7"),
        ("gantry:code:c1", "0.5"),
    ]
