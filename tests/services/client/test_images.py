"""What a caller may send as a picture."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from services.client.images import image_bytes


def test_files_and_bytes_are_sent_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"anything")
    assert image_bytes(tmp_path / "a") == image_bytes(str(tmp_path / "a")) == image_bytes(b"anything") == b"anything"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_pil_image_becomes_a_png_with_its_pixels(mode: str) -> None:
    image = Image.effect_noise((5, 4), 90).convert("RGB" if mode == "P" else "L").convert(mode)
    png = Image.open(BytesIO(image_bytes(image)))
    assert (png.format, png.mode) == ("PNG", mode)
    assert png.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV"])
def test_a_pil_image_that_no_png_can_hold_is_converted(mode: str) -> None:
    image = Image.new("RGB", (5, 4), (200, 30, 90)).convert(mode)
    assert Image.open(BytesIO(image_bytes(image))).tobytes() == image.convert("RGB").tobytes()


def test_pixels_are_not_turned_by_what_their_file_said() -> None:
    file, exif = BytesIO(), Image.Exif()
    exif[0x0112] = 6  # Orientation: turn by 90°.
    Image.new("RGB", (6, 4)).save(file, "JPEG", exif=exif)
    png = Image.open(BytesIO(image_bytes(Image.open(file))))
    assert png.size == (6, 4)
    assert 0x0112 not in png.getexif()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        image_bytes(tmp_path / "a")


def test_anything_else() -> None:
    with pytest.raises(TypeError, match="a picture must be a path, bytes or a PIL image, not int"):
        image_bytes(7)  # type: ignore[arg-type]
