"""Image files of every kind to pixels, and whatever may be wrong with them to one kind of error."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, GifImagePlugin, Image, PngImagePlugin

from services.worker.decoding import FORMATS, ImageError, ImageFacts, ImageTooLargeError, decode, inspect
from services.worker.imaging import Pixels

ANY = 1 << 20

Read = TypeVar("Read")


def gradient(height: int = 24, width: int = 32) -> Pixels:
    """A smooth picture in which every channel and every corner differs."""
    rows, columns, depth = np.mgrid[0:height, 0:width, 0:3]
    return np.clip(rows * 4 + columns * 3 + depth * 40, 0, 255).astype(np.uint8)


def file_of(image: Image.Image | Pixels, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def exif_of(orientation: object) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.mark.parametrize(
    ("image_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 6),
        ("JPEG", {"quality": 95}, 6),
        ("JPEG", {"quality": 95, "progressive": True}, 6),
        ("GIF", {}, 12),
    ],
)
def test_every_format_gives_its_pixels(image_format: str, options: dict[str, Any], tolerance: int) -> None:
    data = file_of(gradient(), image_format, **options)
    pixels = decode(data, ANY)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - gradient()).mean() <= tolerance
    assert inspect(data, ANY) == ImageFacts(image_format, 32, 24)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_brought_upright(image_format: str, orientation: int) -> None:
    # What a camera stores of the gradient when it is held that way.
    stored = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: p.transpose(1, 0, 2)[::-1],
        7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    }[orientation](gradient())
    data = file_of(np.ascontiguousarray(stored), image_format, exif=exif_of(orientation), quality=95)
    pixels = decode(data, ANY)
    assert pixels.shape == (24, 32, 3)
    assert np.abs(pixels.astype(int) - gradient()).mean() < 6
    assert inspect(data, ANY) == ImageFacts(image_format, 32, 24)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0MM\0*garbage", exif_of(0), exif_of(9)])
def test_exif_that_makes_no_sense_is_left_aside(exif: bytes | Image.Exif) -> None:
    assert decode(file_of(gradient(), "JPEG", exif=exif), ANY).shape == (24, 32, 3)


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "BMP"])
def test_a_palette_gives_its_colours(image_format: str) -> None:
    image = Image.fromarray(gradient()).quantize(16)
    assert np.array_equal(decode(file_of(image, image_format), ANY), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "1"])
@pytest.mark.parametrize("image_format", ["PNG", "BMP", "GIF"])
def test_grey_becomes_three_equal_channels(image_format: str, mode: str) -> None:
    image = Image.fromarray(gradient()).convert(mode)
    assert np.array_equal(decode(file_of(image, image_format), ANY), np.asarray(image.convert("RGB")))


def transparent_half() -> Pixels:
    """The gradient, its left half transparent, its middle columns half transparent."""
    alpha = np.full((24, 32, 1), 255, np.uint8)
    alpha[:, :12], alpha[:, 12:20] = 0, 128
    return np.concatenate([gradient(), alpha], axis=2)


@pytest.mark.parametrize(("image_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_transparency_is_laid_over_white(image_format: str, options: dict[str, Any]) -> None:
    pixels = decode(file_of(transparent_half(), image_format, **options), ANY).astype(int)
    assert (pixels[:, :12] == 255).all()
    assert np.array_equal(pixels[:, 20:], gradient()[:, 20:])
    assert np.abs(pixels[:, 12:20] - (gradient()[:, 12:20] * (128 / 255) + 127)).max() <= 1


def test_grey_with_transparency_is_laid_over_white() -> None:
    image = Image.fromarray(transparent_half()).convert("LA")
    pixels = decode(file_of(image, "PNG"), ANY)
    assert (pixels[:, :12] == 255).all()
    assert np.array_equal(pixels[:, 20:, 1], np.asarray(image)[:, 20:, 0])


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white(image_format: str) -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 10, 20))
    pixels = decode(file_of(image, image_format, transparency=0), ANY)
    assert (pixels[:, :10] == 255).all()
    assert (pixels[:, 10:] == [0, 0, 255]).all()


def test_a_transparent_colour_of_a_png_is_white() -> None:
    image = Image.new("RGB", (20, 20), "blue")
    image.paste((255, 0, 0), (0, 0, 10, 20))
    pixels = decode(file_of(image, "PNG", transparency=(255, 0, 0)), ANY)
    assert (pixels[:, :10] == 255).all()
    assert (pixels[:, 10:] == [0, 0, 255]).all()


def test_sixteen_bits_of_grey_are_scaled() -> None:
    grey = np.linspace(0, 65535, 32 * 24).astype(np.uint16).reshape(24, 32)
    pixels = decode(file_of(Image.fromarray(grey), "PNG"), ANY)
    assert np.array_equal(pixels[..., 0], np.rint(grey / 257).astype(np.uint8))
    assert pixels[-1, -1].tolist() == [255, 255, 255]


def test_cmyk_gives_its_colours() -> None:
    image = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    assert np.abs(decode(file_of(image, "JPEG", quality=95), ANY).astype(int) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(image_format: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    data = file_of(frames[0], image_format, save_all=True, append_images=frames[1:], duration=10, lossless=True)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert (decode(data, ANY) == [255, 0, 0]).all()


def test_an_animation_of_very_many_frames_is_not_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Image.new("L", (16, 16), index % 2 * 255) for index in range(300)]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=10)
    sought: list[int] = []
    seek = GifImagePlugin.GifImageFile._seek

    def noting(image: GifImagePlugin.GifImageFile, frame: int, update_image: bool = True) -> None:
        sought.append(frame)
        seek(image, frame, update_image)

    monkeypatch.setattr(GifImagePlugin.GifImageFile, "_seek", noting)
    assert decode(data, ANY).shape == (16, 16, 3)
    assert sought == [0]


def test_a_jpeg_of_several_pictures_gives_the_first() -> None:
    data = file_of(Image.fromarray(gradient()), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert inspect(data, ANY) == ImageFacts("JPEG", 32, 24)
    assert decode(data, ANY).shape == (24, 32, 3)


@pytest.mark.parametrize("check", [inspect, decode])
@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "the picture is empty"),
        (b"hello", "the picture is not a JPEG, PNG, WEBP, GIF or BMP file, or its beginning is damaged"),
        (b"\xff\xd8\xff", "the picture is not a JPEG"),
        (file_of(gradient(), "TIFF"), "the picture is not a JPEG"),
        (file_of(gradient(), "PPM"), "the picture is not a JPEG"),
        (file_of(gradient(), "ICO"), "the picture is not a JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n", "the picture is not a JPEG"),
        (file_of(gradient(15, 40), "PNG"), "the picture has 40×15 pixels; both sides must be at least 16"),
        (file_of(gradient(40, 15), "PNG"), "the picture has 15×40 pixels; both sides must be at least 16"),
    ],
)
def test_what_is_not_such_a_picture_is_refused(check: Callable[..., object], data: bytes, fault: str) -> None:
    with pytest.raises(ImageError) as raised:
        check(data, ANY)
    assert str(raised.value).startswith(fault)
    assert type(raised.value) is ImageError


@pytest.mark.parametrize("check", [inspect, decode])
@pytest.mark.parametrize("image_format", FORMATS)
def test_too_many_pixels_are_refused_before_they_are_decoded(
    check: Callable[..., object], image_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = file_of(gradient(), image_format)
    check(data, 24 * 32)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ImageTooLargeError, match=r"the picture has 32×24 = 768 pixels; at most 767 are allowed"):
        check(data, 24 * 32 - 1)


@pytest.mark.parametrize("check", [inspect, decode])
def test_a_decompression_bomb_is_refused(check: Callable[..., object]) -> None:
    """A thousand bytes that ask for ten gigabytes."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(ImageTooLargeError, match="pixels"):
        check(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1000) + b"IDAT" + bytes(1000), ANY)


@pytest.mark.filterwarnings("error")
def test_a_picture_between_pillows_limits_gives_no_warning_to_a_caller() -> None:
    facts = inspect(file_of(gradient(), "PNG"), 1 << 40)
    assert (facts.width, facts.height) == (32, 24)


def test_a_text_bomb_is_refused() -> None:
    """Text chunks of a PNG that grow a thousandfold."""
    info = PngImagePlugin.PngInfo()
    for number in range(80):
        info.add_text(f"text {number}", "x" * 1_000_000, zip=True)
    data = file_of(gradient(), "PNG", pnginfo=info)
    assert len(data) < 200_000
    with pytest.raises(ImageError, match="damaged"):
        decode(data, ANY)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    """Each scan costs a pass over the whole picture, and takes a few bytes."""
    data = file_of(gradient(), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    bomb = data[:second] + data[first:second] * 200 + data[second:]
    for check in (inspect, decode):
        with pytest.raises(ImageError, match="more than 100 scans"):
            check(bomb, ANY)


def test_what_looks_like_scans_behind_or_within_a_jpeg_does_no_harm() -> None:
    data = file_of(gradient(), "JPEG", comment=b"\xff\xda" * 200) + b"\xff\xda" * 200
    assert decode(data, ANY).shape == (24, 32, 3)


SOUND = {
    "JPEG": file_of(gradient(40, 48), "JPEG", quality=80, exif=exif_of(6)),
    "progressive JPEG": file_of(gradient(40, 48), "JPEG", progressive=True, icc_profile=bytes(200)),
    "CMYK": file_of(Image.fromarray(gradient(40, 48)).convert("CMYK"), "JPEG"),
    "PNG": file_of(gradient(40, 48), "PNG", exif=exif_of(3)),
    "palette PNG": file_of(Image.fromarray(gradient(40, 48)).quantize(8), "PNG", transparency=1),
    "16-bit PNG": file_of(Image.fromarray(np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)), "PNG"),
    "APNG": file_of(
        Image.new("RGB", (48, 40), "red"), "PNG", save_all=True, append_images=[Image.new("RGB", (48, 40), "blue")]
    ),
    "lossy WEBP": file_of(gradient(40, 48), "WEBP", quality=60),
    "WEBP": file_of(transparent_half(), "WEBP", lossless=True, exif=exif_of(8)),
    "animated WEBP": file_of(
        Image.new("RGB", (48, 40), "red"), "WEBP", save_all=True, append_images=[Image.new("RGB", (48, 40), "blue")]
    ),
    "GIF": file_of(gradient(40, 48), "GIF"),
    "animated GIF": file_of(
        Image.new("L", (48, 40), 0), "GIF", save_all=True, append_images=[Image.new("L", (48, 40), 255)]
    ),
    "BMP": file_of(gradient(40, 48), "BMP"),
    "palette BMP": file_of(Image.fromarray(gradient(40, 48)).quantize(8), "BMP"),
}


def outcome_of(data: bytes) -> None:
    """Decode, and see that nothing comes of it but pixels of the size that was told, or an ImageError."""
    facts, told = attempt(lambda: inspect(data, 100_000))
    pixels, fault = attempt(lambda: decode(data, 100_000))
    assert not told or told == fault
    assert "\n" not in fault
    if pixels is not None:
        assert facts is not None
        assert pixels.dtype == np.uint8
        assert pixels.shape == (facts.height, facts.width, 3)


def attempt(read: Callable[[], Read]) -> tuple[Read | None, str]:
    """What is read, or the message of the ImageError."""
    try:
        return read(), ""
    except ImageError as error:
        return None, str(error)


@pytest.mark.parametrize("name", SOUND)
def test_facts_are_told_without_a_pixel_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = inspect(SOUND[name], ANY)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    assert inspect(SOUND[name], ANY) == facts


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150)
@pytest.mark.parametrize("name", SOUND)
@given(data=st.data())
def test_a_damaged_file_gives_pixels_or_an_image_error(name: str, data: st.DataObject) -> None:
    content = bytearray(SOUND[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        match data.draw(st.sampled_from(["flip", "cut", "splice", "repeat", "header"])):
            case "flip":
                content[place : place + 1] = bytes([data.draw(st.integers(0, 255))])
            case "header":
                place %= 64
                content[place : place + 2] = data.draw(st.binary(min_size=1, max_size=4))
            case "cut":
                del content[place : place + data.draw(st.integers(1, 200))]
            case "splice":
                other = SOUND[data.draw(st.sampled_from(sorted(SOUND)))]
                start = data.draw(st.integers(0, len(other)))
                content[place:place] = other[start : start + 100]
            case "repeat":
                content[place:place] = content[place : place + 50]
    outcome_of(bytes(content))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SOUND)
def test_a_file_that_is_cut_off_is_refused(name: str) -> None:
    data = SOUND[name]
    for share in (0.02, 0.3, 0.6):
        cut = data[: int(len(data) * share)]
        outcome_of(cut)
        # Animations hold their first frame in the first half.
        if "animated" not in name and name != "APNG":
            with pytest.raises(ImageError):
                decode(cut, ANY)


@pytest.mark.filterwarnings("ignore")
def test_noise_behind_every_magic_is_refused_or_decoded() -> None:
    generator = random.Random(0)
    for name in SOUND:
        for length in (16, 64, 256):
            outcome_of(SOUND[name][:length] + generator.randbytes(500))
