"""Translate: any picture file in, one of the same size out, and a refusal for what is none."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from gantry.v1 import models_pb2
from gantry.v1.generation_pb2 import (
    DIRECTION_A_TO_B,
    DIRECTION_B_TO_A,
    IMAGE_FORMAT_JPEG,
    IMAGE_FORMAT_PNG,
    IMAGE_FORMAT_RAW,
    IMAGE_FORMAT_WEBP,
    EncodedImage,
    SampleRequest,
    SampleStreamRequest,
    Sweep,
    TranslateRequest,
    TranslateResponse,
    TranslateStreamRequest,
    TraverseRequest,
)
from tests.conformance.harness import Served, assert_invalid, details_of, pixels_of
from tests.pictures import picture


def translate(served: Served, image: bytes, **fields: Any) -> TranslateResponse:
    fields = {"model": "horse2zebra", "direction": DIRECTION_A_TO_B} | fields
    response: TranslateResponse = served.generation.Translate(TranslateRequest(image=image, **fields))
    return response


def raw(encoded: EncodedImage) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert encoded.format == IMAGE_FORMAT_RAW
    return np.frombuffer(encoded.data, np.uint8).reshape(encoded.height, encoded.width, encoded.channels)


def file_of(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header tells of a large picture."""
    small = picture()
    header = b"IHDR" + struct.pack(">II", width, height) + small[24:29]
    return small[:12] + header + zlib.crc32(header).to_bytes(4) + small[33:]


def half_transparent() -> Image.Image:
    image = opened(picture(24, 18)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def over_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 31), (100, 57), (16, 203)])
def test_a_picture_keeps_its_size(served: Served, width: int, height: int) -> None:
    response = translate(served, picture(width, height))

    image = response.image
    assert (image.width, image.height, image.channels, image.format) == (width, height, 3, IMAGE_FORMAT_PNG)
    assert pixels_of(image.data).shape == (height, width, 3)


def test_the_answer_tells_what_made_it(served: Served) -> None:
    loaded = served.models.GetModel(models_pb2.GetModelRequest(model="horse2zebra")).model

    response = translate(served, picture(), max_side=16)

    assert (response.model, response.version, response.digest) == ("horse2zebra", "1.0.0", loaded.digest)
    assert (response.direction, response.source_domain, response.target_domain) == (DIRECTION_A_TO_B, "horse", "zebra")
    assert response.execution == "cpu-float32-eager"
    assert opened(response.image.data).text == {  # type: ignore[attr-defined]
        "gantry:model": "horse2zebra",
        "gantry:version": "1.0.0",
        "gantry:digest": loaded.digest,
        "gantry:execution": "cpu-float32-eager",
        "gantry:source_domain": "horse",
        "gantry:target_domain": "zebra",
        "gantry:max_side": "16",
    }
    assert not response.HasField("cycled")
    assert not response.HasField("cycle_l1")


def test_directions_go_by_number_and_by_name(served: Served) -> None:
    there = translate(served, picture())
    back = translate(served, picture(), direction=DIRECTION_B_TO_A)

    assert there == translate(served, picture(), direction=0, source_domain="horse")
    assert there == translate(served, picture(), direction=0, target_domain="zebra")
    assert back == translate(served, picture(), direction=0, source_domain="zebra", target_domain="horse")
    assert there.image.data != back.image.data


def test_formats_hold_the_same_picture(served: Served) -> None:
    exact = raw(translate(served, picture(33, 21), format=IMAGE_FORMAT_RAW).image)

    assert (pixels_of(translate(served, picture(33, 21)).image.data) == exact).all()
    lossless = translate(served, picture(33, 21), format=IMAGE_FORMAT_WEBP, quality=100)
    assert (pixels_of(lossless.image.data) == exact).all()
    for quality in (10, 90):
        lossy = translate(served, picture(33, 21), format=IMAGE_FORMAT_JPEG, quality=quality)
        assert opened(lossy.image.data).format == "JPEG"
        assert pixels_of(lossy.image.data).shape == exact.shape


RGB = opened(picture(24, 18))
FILES = {
    "jpeg": (file_of(RGB, "JPEG"), opened(file_of(RGB, "JPEG"))),
    "webp": (file_of(RGB, "WEBP", lossless=True), RGB),
    "bmp": (file_of(RGB, "BMP"), RGB),
    "gif, first frame": (file_of(RGB.quantize(), "GIF", save_all=True, append_images=[Image.new("P", (24, 18))]),
                         RGB.quantize()),
    "palette": (file_of(RGB.quantize(16)), RGB.quantize(16)),
    "grey": (file_of(RGB.convert("L")), RGB.convert("L")),
    "cmyk": (file_of(RGB.convert("CMYK"), "JPEG"), opened(file_of(RGB.convert("CMYK"), "JPEG"))),
    "alpha": (file_of(half_transparent()), over_white(half_transparent())),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_any_kind_is_the_rgb_picture_that_it_shows(served: Served, name: str) -> None:
    file, shown = FILES[name]

    response = translate(served, file, format=IMAGE_FORMAT_RAW)

    assert response == translate(served, file_of(shown.convert("RGB")), format=IMAGE_FORMAT_RAW)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_orientation_says(served: Served, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = file_of(RGB, "JPEG", exif=exif)

    response = translate(served, file, format=IMAGE_FORMAT_RAW)

    upright = ImageOps.exif_transpose(opened(file))
    assert (response.image.width, response.image.height) == upright.size
    assert response == translate(served, file_of(upright), format=IMAGE_FORMAT_RAW)


def test_max_side_works_smaller_and_gives_the_same_size(served: Served) -> None:
    full, small, larger = (
        translate(served, picture(90, 60), format=IMAGE_FORMAT_RAW, **fields)
        for fields in ({}, {"max_side": 30}, {"max_side": 4000})
    )

    assert (small.image.width, small.image.height) == (90, 60)
    assert small.image.data != full.image.data
    assert larger == full


def test_the_picture_translated_back_comes_with_its_distance(served: Served) -> None:
    response = translate(served, picture(41, 26), cycle=True, format=IMAGE_FORMAT_RAW)

    assert response.image == translate(served, picture(41, 26), format=IMAGE_FORMAT_RAW).image
    sent, cycled = pixels_of(picture(41, 26)).astype(int), raw(response.cycled)
    assert cycled.shape == sent.shape
    assert response.cycle_l1 == pytest.approx(abs(sent - cycled).mean() / 255, abs=1e-6)
    assert response.cycle_l1 > 0


@pytest.mark.torchserve
@pytest.mark.parametrize("image_format", [IMAGE_FORMAT_PNG, IMAGE_FORMAT_JPEG, IMAGE_FORMAT_WEBP, IMAGE_FORMAT_RAW])
def test_bytes_are_the_same_through_every_backend(gateways: Callable[[str], Served], image_format: int) -> None:
    embedded, torchserve = (
        translate(gateways(name), picture(75, 50), cycle=True, max_side=48, format=image_format)
        for name in ("embedded", "torchserve")
    )

    assert embedded == torchserve


@pytest.mark.parametrize(
    ("fields", "field", "description"),
    [
        ({"direction": 0}, "direction", "translates between 'horse' (A) and 'zebra' (B)"),
        ({"direction": 9}, "direction", "9 is not known"),
        ({"source_domain": "zebra"}, "source_domain", "contradicts direction"),
        ({"target_domain": "cow"}, "target_domain", "'cow' is not known"),
        ({"image": b""}, "image", "required"),
        ({"image": b"\x89PNG, but not more"}, "image", "not a JPEG, PNG, WEBP, GIF or BMP file"),
        ({"image": picture(15, 20)}, "image", "at least 16"),
        ({"image": picture(60, 60)[:-400]}, "image", "damaged or cut off"),
        ({"max_side": 8}, "max_side", "at least 16"),
        ({"quality": 5}, "quality", "only JPEG and WEBP"),
        ({"image": file_of(Image.new("RGB", (1200, 1200))), "cycle": True}, "image", "use TranslateStream"),
    ],
)
def test_bad_field_is_named(served: Served, fields: dict[str, Any], field: str, description: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        translate(served, **({"image": picture()} | fields))

    assert_invalid(raised.value, field, description)


def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(served: Served) -> None:
    for image in (claiming(60_000, 60_000), claiming(2049, 2048)):
        with pytest.raises(grpc.RpcError) as raised:
            translate(served, image)

        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        details = details_of(raised.value)
        assert details["ErrorInfo"].reason == "IMAGE_TOO_LARGE"
        assert "RetryInfo" not in details
        assert "allowed" in raised.value.details()


def test_a_model_of_another_kind_says_which_call_to_use(served: Served) -> None:
    stub = served.generation
    for call, field, description in (
        (lambda: stub.Sample(SampleRequest(model="horse2zebra")), "model", "use Translate or TranslateStream"),
        (
            lambda: next(stub.SampleStream(SampleStreamRequest(sample=SampleRequest(model="horse2zebra")))),
            "sample.model",
            "use Translate",
        ),
        (lambda: next(stub.Traverse(TraverseRequest(model="horse2zebra", sweep=Sweep()))), "model", "use Translate"),
        (lambda: translate(served, picture(), model="grey"), "model", "use Sample, SampleStream or Traverse"),
        (lambda: translate(served, picture(), model="codes"), "model", "use Sample, SampleStream or Traverse"),
    ):
        with pytest.raises(grpc.RpcError) as raised:
            call()
        assert_invalid(raised.value, field, description)
    request = TranslateStreamRequest(id="a", translate=TranslateRequest(model="grey", image=picture()))
    (answer,) = stub.TranslateStream(iter([request]))
    assert "translate.model: model grey makes pictures from latents; use Sample" in answer.error.message


SOUND = [FILES[name][0] for name in FILES]


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A sound file with bytes changed, cut off, or put in from another."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["change", "cut", "splice"])):
            case "change":
                data[place] = draw(st.integers(0, 255))
            case "cut":
                del data[place + 1 :]
            case "splice":
                other = draw(st.sampled_from(SOUND))
                data[place:place] = other[draw(st.integers(0, len(other) - 1)) :][:64]
    return bytes(data)


@settings(max_examples=150)
@given(file=mutated_files())
def test_no_file_harms_anybody_but_its_sender(served: Served, file: bytes) -> None:
    try:
        response = translate(served, file, format=IMAGE_FORMAT_RAW)
    except grpc.RpcError as refusal:
        code = refusal.code()
    else:
        code = grpc.StatusCode.OK
        assert raw(response.image).shape[2] == 3
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert translate(served, picture()).image.data
