"""Python arguments as requests."""

import numpy as np
import pytest

from gantry.v1 import generation_pb2
from services.client import Arithmetic, Axis, Codes, Interpolation, Sweep, TranslateOptions
from services.client.requests import (
    SampleOptions,
    animation_options,
    grid_options,
    sample_grid_request,
    sample_request,
    translate_request,
    traverse_request,
)


def test_absent_options_stay_absent() -> None:
    options = SampleOptions(labels=None, count=None, seed=None, truncation=None, format=None)
    assert sample_request("m", **options) == sample_request("m") == generation_pb2.SampleRequest(model="m")


def test_zero_is_not_absent() -> None:
    request = sample_request("m", labels=0, count=0, seed=0, truncation=0.0)
    assert list(request.label_ids) == [0]
    assert all(request.HasField(field) for field in ("count", "seed", "truncation"))


def test_all_options_arrive() -> None:
    request = sample_request(
        "m", version="1.2.3", labels=["a", "b"], count=2, seed=3, truncation=0.5, format="webp", quality=80
    )
    assert request == generation_pb2.SampleRequest(
        model="m", version="1.2.3", label_names=["a", "b"], count=2, seed=3, truncation=0.5,
        format=generation_pb2.IMAGE_FORMAT_WEBP, quality=80,
    )  # fmt: skip
    assert sample_request("m", each_class=True).each_class


def test_attributes_are_numbers_by_name() -> None:
    request = sample_request("m", attributes={"smile": np.float32(0.5), "age": 30})
    assert request == generation_pb2.SampleRequest(model="m", attributes={"smile": 0.5, "age": 30.0})


@pytest.mark.parametrize("value", ["broad", None])
def test_attributes_that_are_no_numbers(value: object) -> None:
    with pytest.raises(TypeError, match=f"^attributes: smile must be a number, got {value!r}"):
        sample_request("m", attributes={"smile": value})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [1, "a"]}, "labels: give all by id or all by name"),
        ({"labels": []}, "labels: empty"),
        ({"labels": [0, -1]}, "labels: must be 0 to 4294967295, got -1$"),
        ({"count": -1}, "count: must be 0 to 4294967295, got -1$"),
        ({"seed": 2**64}, "seed: must be 0 to 18446744073709551615, got 18446744073709551616$"),
        ({"format": "gif"}, "format: 'gif' is not supported; allowed: png, jpeg, webp, raw"),
        ({"codes": {"digit": -1}}, "codes: index: must be 0 to 4294967295, got -1$"),
    ],
)
def test_values_no_request_can_hold(options: SampleOptions, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        sample_request("m", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": 1.5}, "labels: "),
        ({"count": "3"}, "count: "),
        ({"codes": {"slant": None, "digit": [1]}}, "codes: number: "),
        ({"lables": [1]}, "no such option: lables; allowed: version, format, quality, labels, "),
    ],
)
def test_wrong_types_and_names(options: SampleOptions, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        sample_request("m", **options)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({"slant": 0.5}, [{"code": "slant", "number": 0.5}]),
        ({"digit": "7", "c1": -1.0}, [{"code": "digit", "name": "7"}, {"code": "c1", "number": -1.0}]),
        ({"digit": 0}, [{"code": "digit", "index": 0}]),
        ({"k1": np.int64(3), "c1": np.float32(0.25)}, [{"code": "k1", "index": 3}, {"code": "c1", "number": 0.25}]),
    ],
)
def test_a_code_is_set_by_what_its_value_is(codes: Codes, expected: list[dict[str, object]]) -> None:
    request = sample_request("m", codes=codes)
    assert list(request.codes) == [generation_pb2.CodeValue(**fields) for fields in expected]  # type: ignore[arg-type]


def test_grids_of_samples() -> None:
    assert sample_grid_request("m", None, 0, count=3) == generation_pb2.SampleRequest(
        model="m", count=3, grid=generation_pb2.GridOptions(gap=0)
    )


def test_a_sweep() -> None:
    path = Sweep(x=Axis("slant", start=-1, end=1, steps=5), y=Axis("digit"), seed=0, codes={"c2": 0.5})
    request = traverse_request("m", path, truncation=0.5, grid=grid_options(None, 1))
    assert request == generation_pb2.TraverseRequest(
        model="m",
        sweep=generation_pb2.Sweep(
            x=generation_pb2.Axis(code="slant", range=generation_pb2.Range(start=-1, end=1, steps=5)),
            y=generation_pb2.Axis(code="digit"),
            seed=0,
            condition=generation_pb2.Condition(codes=[generation_pb2.CodeValue(code="c2", number=0.5)]),
        ),
        truncation=0.5,
        grid=generation_pb2.GridOptions(gap=1),
    )


def test_a_sweep_over_values() -> None:
    (request,) = [traverse_request("m", Sweep(x=Axis("class", values=range(3)), label="a"))]
    assert list(request.sweep.x.values) == [0, 1, 2]
    assert request.sweep.condition == generation_pb2.Condition(label_name="a")
    assert not request.sweep.HasField("seed")
    assert not request.sweep.HasField("y")


def test_an_interpolation_holds_what_is_given_and_no_more() -> None:
    request = traverse_request("m", Interpolation(from_seed=0, to_seed=2**64 - 1, to_label=0))
    assert request.interpolation == generation_pb2.Interpolation(
        from_seed=0, to_seed=2**64 - 1, to_condition=generation_pb2.Condition(label_id=0)
    )


def test_arithmetic() -> None:
    animation = animation_options(50, True)
    request = traverse_request("m", Arithmetic(a=[1, 2], b=[3], c=[4], codes={"k1": 1}), animation=animation)
    assert request.arithmetic == generation_pb2.Arithmetic(
        a=[1, 2],
        b=[3],
        c=[4],
        condition=generation_pb2.Condition(codes=[generation_pb2.CodeValue(code="k1", index=1)]),
    )
    assert request.animation == generation_pb2.Animation(frame_milliseconds=50, back_and_forth=True)


def test_every_way_takes_attributes() -> None:
    held = generation_pb2.Condition(attributes={"smile": 1.0})
    smiles = {"smile": 1.0}
    sweep = traverse_request("m", Sweep(x=Axis("age"), attributes=smiles)).sweep
    assert sweep == generation_pb2.Sweep(x=generation_pb2.Axis(code="age"), condition=held)
    sums = traverse_request("m", Arithmetic(a=[1], b=[2], c=[3], attributes=smiles)).arithmetic
    assert sums.condition == held
    ends = Interpolation(from_seed=1, to_seed=2, from_attributes=smiles, to_attributes={"age": 30.0})
    mixed = traverse_request("m", ends).interpolation
    assert (mixed.from_condition, mixed.to_condition.attributes) == (held, {"age": 30.0})


@pytest.mark.parametrize(
    "axis", [{"steps": 9}, {"start": 0.0, "end": 1.0}, {"values": [1.0], "start": 0.0, "end": 1.0, "steps": 2}]
)
def test_half_an_axis_is_none(axis: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="axis 'slant': give values, or all of start, end and steps, or none of them"):
        Axis("slant", **axis)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (Sweep(x=Axis("c1", values=[0.0]), seed=-1), "seed: "),
        (Sweep(x=Axis("c1", start=0, end=1, steps=-1)), "x: steps: "),
        (Interpolation(from_seed=0, to_seed=1, from_label=-1), "from_condition: label: "),
        (Arithmetic(a=[1], b=[-1], c=[1]), "b: "),
    ],
)
def test_ways_that_no_request_can_hold(path: Sweep, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        traverse_request("m", path)


def test_a_way_that_is_none() -> None:
    with pytest.raises(TypeError, match=r"^path: must be a Sweep, an Interpolation or an Arithmetic, not 'slant'"):
        traverse_request("m", "slant")  # type: ignore[arg-type]


def test_translations() -> None:
    options = TranslateOptions(
        to="zebra", source="horse", direction="a_to_b", max_side=256, cycle=True, version="1.0.0", quality=None
    )
    assert translate_request("m", **options) == generation_pb2.TranslateRequest(
        model="m",
        version="1.0.0",
        target_domain="zebra",
        source_domain="horse",
        direction=generation_pb2.DIRECTION_A_TO_B,
        max_side=256,
        cycle=True,
    )
    with pytest.raises(ValueError, match=r"^direction: 'forth' is not supported; allowed: a_to_b, b_to_a"):
        translate_request("m", direction="forth")  # type: ignore[typeddict-item]
