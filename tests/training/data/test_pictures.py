"""The reader of folders, zips and tars: every kind of picture, and what is said of what cannot be read."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training.data.files import BLUE, RED, WRITERS, as_folder, as_tar, as_zip, encoded, plain
from training.data import DataError
from training.data.pictures import in_threads, picture_files, read_header, read_square


def square(folder: Path, content: bytes, mode="RGB", size: int = 28, name: str = "1.png") -> torch.Tensor:
    (file,) = picture_files(as_folder(folder, {name: content}))
    return read_square(file, mode, size)


def is_grey(folder: Path, picture: Image.Image, format: str = "PNG", name: str = "1.png", **options) -> bool:
    (file,) = picture_files(as_folder(folder, {name: encoded(picture, format, **options)}))
    return read_header(file)[1]


@pytest.mark.parametrize("suffix", WRITERS)
def test_pictures_are_listed_in_the_order_of_their_paths(tmp_path: Path, suffix: str) -> None:
    files = {
        "b/1.png": b"x",
        "a 1/ü.JPG": b"xy",
        "2.png": b"",
        "notes.txt": b"",
        "a 1/.2.png": b"",
        "__MACOSX/1.png": b"",
    }
    found = picture_files(WRITERS[suffix](tmp_path / f"own{suffix}", files))
    assert [(file.path, file.size) for file in found] == [("2.png", 0), ("a 1/ü.JPG", 2), ("b/1.png", 1)]
    assert [file.open().read() for file in found] == [b"", b"xy", b"x"]


def test_the_middle_of_a_picture_is_resized_without_aliasing(tmp_path: Path) -> None:
    pixels = np.zeros((256, 512, 3), np.uint8)
    pixels[::2, 129:383:2] = pixels[1::2, 128:384:2] = 255  # a fine chequerboard, black to its left and right
    shown = square(tmp_path, encoded(Image.fromarray(pixels)), size=32)
    assert shown.shape == (3, 32, 32)
    assert (shown[:, 2:-2, 2:-2].int() - 128).abs().max() < 8


def test_a_picture_of_the_right_size_is_left_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    assert torch.equal(square(tmp_path, encoded(Image.fromarray(pixels))), torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (3, 2)])
def test_the_smallest_pictures_are_enlarged(tmp_path: Path, size: tuple[int, int]) -> None:
    assert (square(tmp_path, plain(RED, size))[0] == 255).all()


def test_a_large_jpeg_shows_the_same_as_a_png(tmp_path: Path) -> None:
    ramp = Image.linear_gradient("L").resize((1000, 700)).convert("RGB")
    jpeg = square(tmp_path / "jpeg", encoded(ramp, "JPEG", quality=95), name="1.jpg").int()
    png = square(tmp_path / "png", encoded(ramp)).int()
    assert (jpeg - png).abs().max() <= 3


def test_exif_turns_a_square_too(tmp_path: Path) -> None:
    picture, exif = Image.new("RGB", (40, 30), RED), Image.Exif()
    picture.paste(BLUE, (0, 0, 40, 15))
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = square(tmp_path, encoded(picture, "JPEG", exif=exif, quality=95, subsampling=0), name="1.jpg")
    assert turned[0, 14, 3] > 240
    assert turned[0, 14, 24] < 15


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (8, 8), 77), 77),
        (Image.new("1", (8, 8), 1), 255),
        (Image.fromarray(np.full((8, 8), 257 * 77, np.uint16)), 77),
        (Image.new("LA", (8, 8), (0, 51)), 204),
        (Image.new("L", (8, 8), 77).convert("P"), 77),
    ],
    ids=["grey", "1-bit", "16-bit", "grey-alpha", "palette"],
)
def test_grey_of_every_kind_stays_grey(tmp_path: Path, picture: Image.Image, expected: int) -> None:
    assert is_grey(tmp_path, picture)
    shown = square(tmp_path, encoded(picture), "L")
    assert shown.shape == (1, 28, 28)
    assert (shown == expected).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_colour_of_every_kind_is_colour(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGB", (8, 8), RED).convert(mode)
    format, name = ("JPEG", "1.jpg") if mode == "CMYK" else ("PNG", "1.png")
    assert not is_grey(tmp_path, picture, format, name)
    shown = square(tmp_path, encoded(picture, format), name=name)[:, 14, 14]
    np.testing.assert_allclose(shown.tolist(), RED, atol=8)


def test_a_pgm_of_16_bits_is_read(tmp_path: Path) -> None:
    content = b"P5 4 4 65535\n" + np.full(16, 257 * 77, ">u2").tobytes()
    assert (square(tmp_path, content, "L", name="1.pgm") == 77).all()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(DataError, match=r"1\.tif: not a readable picture: it has 32 bits a channel; 8 and 16 are read"):
        square(tmp_path, encoded(Image.new(mode, (8, 8)), "TIFF"), name="1.tif")


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in (RED, BLUE)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert square(tmp_path, content, name="1.gif")[:, 9, 9].tolist() == list(RED)


@pytest.mark.parametrize("write", [as_zip, as_tar])
def test_damaged_bytes_are_named(tmp_path: Path, write: Callable) -> None:
    noise = encoded(Image.effect_noise((64, 64), 90))
    path = write(tmp_path / "own", {"a/1.png": noise})
    content = bytearray(path.read_bytes())
    middle = content.index(b"IDAT") + 500
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    (file,) = picture_files(path)
    with pytest.raises(DataError, match=f"{path}: a/1.png: not a readable picture: "):
        read_square(file, "RGB", 28)


def test_a_zip_with_a_password_is_named(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "own.zip", {"1.png": plain(RED)})
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1  # the flag of an encrypted entry
    path.write_bytes(content)
    (file,) = picture_files(path)
    with pytest.raises(
        DataError, match=r"own\.zip: 1\.png: not a readable picture: .* is encrypted, password required"
    ):
        read_header(file)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.xz"])
def test_an_archive_that_ends_too_early_is_named(tmp_path: Path, suffix: str) -> None:
    noise = {f"{each}.png": encoded(Image.effect_noise((64, 64), 90)) for each in range(3)}
    path = WRITERS[suffix](tmp_path / f"own{suffix}", noise)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError) as caught:
        picture_files(path)
    assert str(caught.value) == f"{path}: not a readable folder, zip or tar: it is damaged, cut short or something else"


def test_a_file_that_is_no_archive_and_a_link_to_nowhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("my pictures")
    with pytest.raises(DataError, match=r"notes\.txt: not a readable folder, zip or tar"):
        picture_files(tmp_path / "notes.txt")
    (tmp_path / "1.png").symlink_to("gone.png")
    with pytest.raises(DataError, match=r"not a readable folder, zip or tar: .*1\.png"):
        picture_files(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match=r"not a readable folder, zip or tar: .*Permission denied.*locked"):
        picture_files(tmp_path)


def test_links_are_followed(tmp_path: Path) -> None:
    as_folder(tmp_path / "own/a", {"1.png": b"x"})
    (tmp_path / "own/again").symlink_to(tmp_path / "own/a")
    (tmp_path / "own/2.png").symlink_to(tmp_path / "own/a/1.png")
    paths = [file.path for file in picture_files(tmp_path / "own")]
    assert paths == ["2.png", "a/1.png", "again/1.png"]


def test_the_later_of_two_entries_of_a_zip_is_read(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "own.zip", {"1.png": b"old"})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("1.png", b"newer")
    assert [file.open().read() for file in picture_files(path)] == [b"newer"]


def test_threads_keep_the_order_and_pass_on_errors() -> None:
    assert list(in_threads(lambda number: number * 2, range(1000))) == list(range(0, 2000, 2))
    assert list(in_threads(str, [])) == []
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // number, [3, 2, 1, 0]))
