"""The client against a real gateway."""

import subprocess
import sys
from collections.abc import Iterator
from threading import Event
from typing import Any

import grpc
import numpy as np
import pytest

from gantry.v1 import generation_pb2
from services.client import Client, FieldViolation, Format, GantryError
from tests.archives import CLASS_NAMES, SHAPES
from tests.services.client.refusing import RefusingServicer, SilentServicer, listening

LARGEST_SEED = 2**64 - 1


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


def test_labels_by_id_give_one_picture_each(client: Client) -> None:
    images = client.sample("tiny", labels=[2, 0], seed=LARGEST_SEED)
    assert [image.label for image in images] == [2, 0]
    assert [image.label_name for image in images] == [CLASS_NAMES[2], CLASS_NAMES[0]]
    assert [image.seed for image in images] == [LARGEST_SEED, 0]


def test_a_label_by_name_stands_for_all(client: Client) -> None:
    images = client.sample("tiny", labels="square", count=3, seed=1)
    assert [image.label for image in images] == [1, 1, 1]


def test_names_in_a_list(client: Client) -> None:
    images = client.sample("tiny", labels=["three words here", "circle"])
    assert [image.label for image in images] == [2, 0]


def test_labels_of_numpy(client: Client) -> None:
    assert [image.label for image in client.sample("tiny", labels=np.arange(3))] == [0, 1, 2]


def test_each_class_is_ordered_by_class(client: Client) -> None:
    assert [image.label for image in client.sample("tiny", each_class=True, count=2)] == [0, 0, 1, 1, 2, 2]


def test_a_picture_carries_its_origin_and_can_be_made_again(client: Client) -> None:
    image = client.sample("tiny", version="1.0.0", count=3, seed=40, truncation=0.5)[2]
    assert (image.model, image.version, image.seed, image.truncation) == ("tiny", "1.0.0", 42, 0.5)
    assert image.digest == client.model("tiny", "1.0.0").digest
    (again,) = client.sample(
        image.model, version=image.version, labels=image.label, seed=image.seed, truncation=image.truncation
    )
    assert again == image


def test_the_newest_version_is_the_default(client: Client) -> None:
    assert client.sample("tiny")[0].version == "1.1.0"


@pytest.mark.parametrize(("model", "mode"), [("tiny", "L"), ("rgb", "RGB")])
@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp", "raw"])
def test_every_format_decodes(client: Client, model: str, mode: str, image_format: Format) -> None:
    (image,) = client.sample(model, labels=0, seed=1, format=image_format)
    assert image.format == image_format
    assert image.image.size == (image.width, image.height) == (6, 8)
    assert image.image.convert(mode).tobytes()  # WEBP knows no grey.


@pytest.mark.parametrize("model", ["tiny", "rgb"])
def test_raw_holds_the_pixels_of_the_png(client: Client, model: str) -> None:
    (png,), (raw,) = (client.sample(model, labels=1, seed=3, format=one) for one in ("png", "raw"))  # type: ignore[arg-type]
    assert png.image.tobytes() == raw.image.tobytes() == raw.data


def test_a_grid_is_one_picture_and_knows_its_tiles(client: Client) -> None:
    grid = client.sample_grid("rgb", each_class=True, count=4, seed=9, gap=1, columns=6)
    alone = client.sample("rgb", each_class=True, count=4, seed=9)
    assert grid.image.size == (6 * 7 - 1, 2 * 9 - 1)
    assert grid.seed == 9
    assert [tile.seed for tile in grid.tiles] == [image.seed for image in alone]
    assert [tile.label for tile in grid.tiles] == [image.label for image in alone]
    last = grid.image.crop((5 * 7, 9, 5 * 7 + 6, 9 + 8))
    assert last.tobytes() == alone[11].image.tobytes()


def test_the_stream_gives_the_same_pictures(client: Client) -> None:
    assert list(client.sample_stream("tiny", count=5, seed=2)) == client.sample("tiny", count=5, seed=2)


def test_a_stream_can_be_left_early(client: Client) -> None:
    stream = client.sample_stream("tiny", count=200, seed=2)
    assert next(stream).seed == 2
    stream.close()
    assert client.sample("tiny", seed=2)


def test_models_and_refused_archives(client: Client) -> None:
    loaded = [(model.card.name, model.card.version) for model in client.models()]
    others = ["tiny-attributes", "tiny-codes", "tiny-one-way", "tiny-plain", "tiny-translation"]
    assert [name for name, _ in loaded] == ["rgb", "tiny", "tiny", *others]
    assert [version for name, version in loaded if name == "tiny"] == ["1.0.0", "1.1.0"]
    assert [refused.archive for refused in client.refused_archives()] == ["garbage.mar"]
    assert [known.name for known in client.model("tiny").card.classes] == list(CLASS_NAMES)


def test_a_picture_of_codes_can_be_made_again(client: Client) -> None:
    image = client.sample("tiny-codes", codes={"slant": 0.5, "shape": "long"}, count=2, seed=4)[1]
    assert (image.label, image.label_name) == (None, None)
    assert image.codes == {"k1": SHAPES.index("long"), "c1": 0.5, "c2": image.codes["c2"]}
    (again,) = client.sample(image.model, labels=image.label, codes=image.codes, seed=image.seed)
    assert again == image


def test_a_picture_of_attributes_can_be_made_again(client: Client) -> None:
    image = client.sample("tiny-attributes", attributes={"smile": 0.5}, count=2, seed=4)[1]
    assert image.attributes == {"smile": 0.5, "age": image.attributes["age"]}
    assert 18 <= image.attributes["age"] <= 80
    (again,) = client.sample(image.model, attributes=image.attributes, seed=image.seed)
    assert again == image
    assert client.sample("tiny-attributes", attributes={"smile": 0.6}, seed=5)[0].data != image.data


def test_a_model_without_a_condition_takes_a_seed_alone(client: Client) -> None:
    first, second = client.sample("tiny-plain", count=2, seed=4)
    assert (first.label, first.label_name, first.codes, first.attributes) == (None, None, {}, {})
    assert first.data != second.data
    assert client.sample("tiny-plain", seed=5) == [second]


def test_an_attribute_out_of_range_is_named(client: Client) -> None:
    with pytest.raises(GantryError) as caught:
        client.sample("tiny-attributes", attributes={"smile": 3})
    assert caught.value.field_violations == (FieldViolation('attributes["smile"]', "must be 0 to 1, got 3"),)


def test_every_picture_names_its_execution_plan(client: Client) -> None:
    assert client.sample("tiny")[0].execution == "cpu-float32-eager"


def test_an_unknown_model_is_named_with_what_is_loaded(client: Client) -> None:
    with pytest.raises(GantryError, match=r"NOT_FOUND: .*loaded: rgb, tiny") as caught:
        client.sample("nope")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert caught.value.reason == "MODEL_NOT_FOUND"
    assert caught.value.retry_seconds is None
    assert caught.value.field_violations == ()


def test_every_field_at_fault_is_told(client: Client) -> None:
    with pytest.raises(GantryError) as caught:
        client.sample("tiny", labels=[0, 9], truncation=2.0)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "INVALID_REQUEST"
    assert [violation.field for violation in caught.value.field_violations] == ["label_ids[1]", "truncation"]
    assert FieldViolation("truncation", "must be 0 to 1, got 2") in caught.value.field_violations


def test_a_stream_is_refused_at_its_first_step(client: Client) -> None:
    stream = client.sample_stream("tiny", labels="triangle")
    with pytest.raises(GantryError, match="triangle") as caught:
        next(stream)
    assert caught.value.field_violations[0].field == "sample.label_names[0]"


def test_a_grid_of_no_columns_is_refused(client: Client) -> None:
    with pytest.raises(GantryError) as caught:
        client.sample_grid("tiny", columns=0)
    assert caught.value.field_violations[0].field == "grid.columns"


def test_a_gateway_that_is_not_there() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(GantryError) as caught:
        client.models()
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert caught.value.reason is None


def test_the_deadline_ends_a_call_that_gets_no_answer() -> None:
    servicer = SilentServicer()
    with listening(servicer) as address, Client(address, timeout=0.05) as client:
        with pytest.raises(GantryError) as caught:
            client.sample("tiny")
        with pytest.raises(GantryError, match=r"DEADLINE_EXCEEDED: no answer within 0\.05 s"):
            client.translate("tiny", b"picture")
        servicer.released.set()
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_answer_that_crosses_the_end_of_the_wait_is_too_late() -> None:
    """Else the next one would be told of a call that somebody has cancelled."""

    class Crossing:
        def __init__(self) -> None:
            self._cancelled = Event()

        def __next__(self) -> generation_pb2.TranslateStreamResponse:
            assert self._cancelled.wait(60)
            return generation_pb2.TranslateStreamResponse()

        def cancel(self) -> None:
            self._cancelled.set()

    with Client(timeout=0.01) as client, pytest.raises(TimeoutError):
        client._next(Crossing())


def test_an_answer_may_be_larger_than_what_grpc_takes_untold() -> None:
    """The gateway bounds its answers by a setting of its own, beyond 4 MiB too."""

    class Generous(RefusingServicer):
        def Sample(self, request: generation_pb2.SampleRequest, context: Any) -> generation_pb2.SampleResponse:  # noqa: N802
            response = super().Sample(request, context)
            response.images[0].encoded.data = bytes(5 << 20)
            return response

    with listening(Generous([])) as address, Client(address) as client:
        assert len(client.sample("m")[0].data) == 5 << 20


def test_importing_the_client_imports_no_torch() -> None:
    code = "import sys, services.client, services.client.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
