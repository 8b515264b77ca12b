"""Traversals by the client against a real gateway."""

from collections.abc import Iterator

import pytest

from services.client import Arithmetic, Axis, Client, Coordinate, GantryError, Interpolation, Sweep
from tests.archives import CLASS_NAMES, SHAPES


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


def test_a_sweep_of_two(client: Client) -> None:
    path = Sweep(x=Axis("slant", start=-1, end=1, steps=3), y=Axis("shape"), seed=5, codes={"c2": 0.25})
    frames = list(client.traverse("tiny-codes", path))
    assert [frame.index for frame in frames] == list(range(9))
    assert {frame.frames for frame in frames} == {9}
    assert frames[5].coordinates == (Coordinate("c1", 1.0, None), Coordinate("k1", 1.0, SHAPES[1]))
    assert (frames[5].seed, frames[5].model, frames[5].execution) == (5, "tiny-codes", "cpu-float32-eager")
    (alone,) = client.sample("tiny-codes", codes={"slant": 1.0, "k1": 1, "c2": 0.25}, seed=5)
    assert frames[5].image.tobytes() == alone.image.tobytes()


def test_a_sweep_of_classes(client: Client) -> None:
    frames = list(client.traverse("tiny", Sweep(x=Axis("class", values=[2, 0]), seed=1), format="raw"))
    assert [frame.coordinates[0].name for frame in frames] == [CLASS_NAMES[2], CLASS_NAMES[0]]
    assert [frame.data for frame in frames] == [
        image.data for image in (client.sample("tiny", labels=label, seed=1, format="raw")[0] for label in (2, 0))
    ]


def test_a_sweep_of_an_attribute(client: Client) -> None:
    path = Sweep(x=Axis("age", start=20, end=60, steps=3), y=Axis("smile", values=[1]), seed=5)
    frames = list(client.traverse("tiny-attributes", path))
    assert frames[1].coordinates == (Coordinate("age", 40.0, None), Coordinate("smile", 1.0, None))
    (alone,) = client.sample("tiny-attributes", attributes={"age": 40, "smile": 1}, seed=5)
    assert frames[1].image.tobytes() == alone.image.tobytes()


def test_an_interpolation_mixes_attributes(client: Client) -> None:
    old, young = {"age": 80, "smile": 0.5}, {"age": 18, "smile": 0.5}
    path = Interpolation(from_seed=3, to_seed=3, from_attributes=old, to_attributes=young, steps=3)
    middle = list(client.traverse("tiny-attributes", path, format="raw"))[1]
    (alone,) = client.sample("tiny-attributes", attributes={"age": 49, "smile": 0.5}, seed=3, format="raw")
    assert middle.data == alone.data


def test_arithmetic_holds_attributes(client: Client) -> None:
    held = {"age": 30, "smile": 0}
    first, *_ = client.traverse("tiny-attributes", Arithmetic(a=[1], b=[2], c=[3], attributes=held), format="raw")
    assert first.data == client.sample("tiny-attributes", attributes=held, seed=1, format="raw")[0].data


def test_a_model_without_a_condition_is_walked_through(client: Client) -> None:
    frames = list(client.traverse("tiny-plain", Interpolation(from_seed=1, to_seed=2, steps=3), format="raw"))
    assert frames[2].data == client.sample("tiny-plain", seed=2, format="raw")[0].data


def test_an_interpolation_begins_and_ends_with_ordinary_samples(client: Client) -> None:
    path = Interpolation(from_seed=1, to_seed=2, from_label=0, to_label="square", steps=4)
    frames = list(client.traverse("tiny", path, truncation=0.5))
    assert [frame.coordinates[0].axis for frame in frames] == ["position"] * 4
    assert [frame.coordinates[0].value for frame in frames] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    for frame, label, seed in ((frames[0], 0, 1), (frames[3], 1, 2)):
        (sample,) = client.sample("tiny", labels=label, seed=seed, truncation=0.5)
        assert frame.image.tobytes() == sample.image.tobytes()


def test_arithmetic(client: Client) -> None:
    frames = list(client.traverse("tiny", Arithmetic(a=[1], b=[2], c=[2], label=0)))
    assert [frame.coordinates[0].name for frame in frames] == ["a", "b", "c", "a - b + c"]
    assert frames[1].image.tobytes() == frames[2].image.tobytes() != frames[0].image.tobytes()
    assert frames[3].image.tobytes() == frames[0].image.tobytes()


def test_a_grid_brings_the_frames_too(client: Client) -> None:
    path = Sweep(x=Axis("shape"), y=Axis("c1", values=[-1.0, 1.0]), seed=3)
    traversal = client.traverse_grid("tiny-codes", path, gap=1)
    assert traversal.image.size == (traversal.width, traversal.height) == (3 * 7 - 1, 2 * 9 - 1)
    assert [frame.data for frame in traversal.frames] == [frame.data for frame in client.traverse("tiny-codes", path)]
    last = traversal.image.crop((2 * 7, 9, 2 * 7 + 6, 9 + 8))
    assert last.tobytes() == traversal.frames[5].image.tobytes()


def test_an_animation_goes_back_the_way_it_came(client: Client) -> None:
    path = Interpolation(from_seed=1, to_seed=2, from_label=0, steps=4)
    traversal = client.traverse_animation("rgb", path, frame_milliseconds=50, back_and_forth=True)
    assert traversal.format == "webp"
    assert traversal.image.n_frames == 6  # type: ignore[attr-defined]
    assert len(traversal.frames) == 4


def test_a_refused_traversal_names_the_field(client: Client) -> None:
    with pytest.raises(GantryError) as caught:
        next(client.traverse("tiny-codes", Sweep(x=Axis("size"))))
    assert caught.value.reason == "INVALID_REQUEST"
    assert caught.value.field_violations[0].field == "sweep.x.code"
