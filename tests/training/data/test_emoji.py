"""Emoji as pairs: no family of variants stands on both sides of a split, and the pictures are those of the packages."""

from pathlib import Path

import pytest
from PIL import Image

from tests.training.data.files import WRITERS, as_folder, encoded, plain
from training.data import DataError, load_paired
from training.data.emoji import family_of, prepare, split_of

RUNNERS = ["1f3c3", "1f3c3-1f3fb", "1f3c3-1f3ff-200d-2640-fe0f", "1f3c3-200d-2642-fe0f-200d-27a1-fe0f"]
OTHERS = [f"1f4{number:x}{digit:x}" for number in range(16) for digit in range(16)]


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (RUNNERS, "1f3c3"),
        (["1f468-1f3fd-200d-1f692", "1f469-200d-1f692", "1f9d1-1f3ff-200d-1f91d-200d-1f9d1-1f3fb"], "people"),
        (["1f1e9-1f1ea", "1f1ff-1f1fc", "1f3f4-200d-2620-fe0f", "1f3f3-fe0f-200d-1f308"], "flags"),
        (["0023-fe0f-20e3", "0039-fe0f-20e3"], "keys"),
        (["2764-fe0f", "2764-fe0f-200d-1f525"], "2764"),
        (["1f3fb"], "1f3fb"),  # a tone alone
        (["2640-fe0f"], "2640-fe0f".partition("-")[0]),
    ],
)
def test_variants_are_one_family(names: list[str], family: str) -> None:
    assert {family_of(name) for name in names} == {family}


def test_about_a_tenth_of_the_families_is_tested_with_and_a_twentieth_validated() -> None:
    splits = [split_of(family) for family in OTHERS]
    assert 15 < splits.count("test") < 40
    assert 5 < splits.count("val") < 25
    assert {split_of(family) for family in ("flags", "keys", "people")} == {"train"}


@pytest.mark.parametrize("suffix", ["", ".tgz"])
def test_two_packages_become_a_set_of_pairs(tmp_path: Path, suffix: str) -> None:
    names = [*OTHERS, *RUNNERS]
    sides = (("google", 0, []), ("twitter", 255, ["1fa77"]))  # one has an emoji that the other has not
    packages = [
        WRITERS[suffix](
            tmp_path / f"{style}{suffix}",
            {
                f"package/img/{style}/sheets/64.png": plain((1, 2, 3), (640, 640)),
                **{f"package/img/{style}/64/{name}.png": plain((9, 9, blue), (64, 64)) for name in [*names, *more]},
            },
        )
        for style, blue, more in sides
    ]
    counts = prepare(*packages, tmp_path / "emoji", most=1)
    sets = {split: load_paired("emoji", split, tmp_path / "emoji") for split in ("train", "validation", "test")}
    assert sum(counts.values()) == sum(len(each.a) for each in sets.values()) == len(names)
    assert counts["val"] == len(sets["validation"].a)
    for each in sets.values():
        assert {(int(a[2].max()), int(b[2].min())) for a, b in zip(each.a, each.b, strict=True)} == {(0, 255)}
    places = [path.parent.name for name in RUNNERS for path in (tmp_path / "emoji").glob(f"*A/{name}.png")]
    assert len(places) == len(RUNNERS)
    assert len(set(places)) == 1
    with pytest.raises(DataError, match="emoji: is there already"):
        prepare(*packages, tmp_path / "emoji")


def test_pairs_that_have_little_in_common_are_left_out(tmp_path: Path) -> None:
    """A drawing is compared where there is one: paper has paper in common with any other."""

    def drawing(grey: int) -> bytes:
        picture = Image.new("RGB", (64, 64), "white")
        picture.paste((grey, grey, grey), (0, 0, 8, 8))
        return encoded(picture)

    names = [f"1f40{number:x}" for number in range(16)]
    packages = [as_folder(tmp_path / style, {f"64/{name}.png": drawing(10) for name in names}) for style in "ab"]
    as_folder(packages[1], {"64/1f402.png": drawing(10 + 102), "64/1f403.png": drawing(10 + 51)})
    assert sum(prepare(*packages, tmp_path / "all", most=1).values()) == 16
    assert sum(prepare(*packages, tmp_path / "alike", most=0.3).values()) == 15
    assert not [*(tmp_path / "alike").glob("*/1f402.png")]


def test_a_package_without_pictures_is_named(tmp_path: Path) -> None:
    package = as_folder(tmp_path / "icons", {"img/32/1f3c3.png": plain((0, 0, 0))})
    with pytest.raises(DataError, match="icons: holds no pictures in a folder 64"):
        prepare(package, package, tmp_path / "emoji")
    assert not (tmp_path / "emoji").exists()
