"""Sheets for people: their size, what is written on them, and what their files tell."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from services.client import Axis, Client, Format, Interpolation, Sweep
from services.client.sheets import GAP, Layout, draw_sheet, sample_sheet, traversal_sheet
from tests.archives import CLASS_NAMES

LETTERS = GAP + 14
GREY = Image.new("L", (6, 8), 128)


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


def test_small_pictures_are_enlarged_by_a_whole_factor() -> None:
    sheet = draw_sheet([GREY] * 5, Layout(columns=3))
    assert sheet.size == (3 * (72 + GAP) + GAP, 2 * (96 + GAP) + GAP)
    assert int((np.asarray(sheet) == 128).sum()) == 5 * 72 * 96
    assert sheet.mode == "L"


def test_large_pictures_stay_as_they_are() -> None:
    assert draw_sheet([Image.new("RGB", (100, 50))], Layout(columns=1)).size == (100 + 2 * GAP, 50 + 2 * GAP)


def test_letters_are_beside_the_tiles_and_never_on_them() -> None:
    layout = Layout(columns=2, captions=["one", "a caption wider than its tile is"], rows=["first", ""], corner="y / x")
    sheet = np.asarray(draw_sheet([GREY] * 4, layout))
    assert int((sheet == 128).sum()) >= 4 * 72 * 96
    assert sheet.shape[0] == 2 * (96 + GAP) + GAP + LETTERS
    assert (sheet[:LETTERS] < 100).any()
    margin = sheet[:, : sheet.shape[1] // 8]
    assert (margin[LETTERS : LETTERS + 96] < 100).any()
    assert not (margin[LETTERS + 96 + 2 * GAP :] < 100).any()


def test_a_row_a_class_has_its_name_at_the_left(client: Client) -> None:
    images = client.sample("tiny", each_class=True, count=4, seed=9)
    sheet = sample_sheet(images, by_class=True)
    expected = draw_sheet([image.image for image in images], Layout(columns=4, rows=CLASS_NAMES))
    assert sheet.image.tobytes() == expected.tobytes()
    assert (sheet.seed, len(sheet.tiles)) == (9, 12)


def test_samples_are_below_their_classes_or_seeds(client: Client) -> None:
    for model, captions in (("tiny", ["square", "square", "circle"]), ("tiny-plain", ["4", "5", "6"])):
        images = client.sample(model, labels=[1, 1, 0] if model == "tiny" else None, count=3, seed=4)
        expected = draw_sheet([image.image for image in images], Layout(columns=2, captions=captions))
        assert sample_sheet(images).image.tobytes() == expected.tobytes()


def test_a_sweep_of_two_has_the_stops_of_both(client: Client) -> None:
    path = Sweep(x=Axis("slant", start=-1, end=1, steps=3), y=Axis("shape", values=[2, 0]), seed=5)
    frames = list(client.traverse("tiny-codes", path))
    layout = Layout(columns=3, captions=["-1", "0", "1"], rows=["long", "round"], corner="shape / slant")
    expected = draw_sheet([frame.image for frame in frames], layout)
    assert traversal_sheet(frames, path).image.tobytes() == expected.tobytes()
    captions = ["long -1", "long 0", "long 1", "round -1", "round 0", "round 1"]
    regrouped = draw_sheet([frame.image for frame in frames], Layout(columns=2, captions=captions))
    assert traversal_sheet(frames, path, columns=2).image.tobytes() == regrouped.tobytes()


def test_an_interpolation_has_its_positions(client: Client) -> None:
    path = Interpolation(from_seed=1, to_seed=2, steps=3)
    frames = list(client.traverse("tiny-plain", path))
    expected = draw_sheet([frame.image for frame in frames], Layout(columns=3, captions=["0", "0.5", "1"]))
    assert traversal_sheet(frames, path).image.tobytes() == expected.tobytes()


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_every_format_decodes(client: Client, image_format: Format) -> None:
    sheet = sample_sheet(client.sample("rgb", count=2), format=image_format, quality=80)
    with Image.open(BytesIO(sheet.data)) as image:
        assert (image.format, image.size) == (image_format.upper(), (sheet.width, sheet.height))


def test_a_png_tells_what_its_tiles_have_in_common(client: Client) -> None:
    sheet = sample_sheet(client.sample("tiny", labels=[0, 1], seed=7, truncation=0.5))
    assert sheet.image.info == {
        "gantry:model": "tiny",
        "gantry:version": "1.1.0",
        "gantry:digest": client.model("tiny").digest,
        "gantry:execution": "cpu-float32-eager",
        "gantry:seed": "7",
        "gantry:truncation": "0.5",
    }
    again = sample_sheet(client.sample("tiny", labels=[0, 1], seed=7, truncation=0.5))
    assert again.data == sheet.data
