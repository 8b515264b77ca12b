"""Python arguments as requests."""

import pytest

from gantry.v1 import generation_pb2
from services.client.requests import SampleOptions, sample_request


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [1, "a"]}, "labels: give all by id or all by name"),
        ({"labels": []}, "labels: empty"),
        ({"labels": [-1]}, "labels: "),
        ({"count": -1}, "count: "),
        ({"seed": 2**64}, "seed: "),
        ({"format": "gif"}, "format: 'gif' is not supported; allowed: png, jpeg, webp, raw"),
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
        ({"lables": [1]}, "no such option: lables; allowed: version, labels, "),
    ],
)
def test_wrong_types_and_names(options: SampleOptions, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        sample_request("m", **options)
