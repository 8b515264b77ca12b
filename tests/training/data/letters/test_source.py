"""The data set `letters`: its splits, its attributes and its licence, of tiny fonts."""

from pathlib import Path

import pytest
import torch

from tests.training.data.letters.fonts import family_in, write_font
from training.data import DataError, ImageDataset, describe, load
from training.data.letters.measures import MEASURES
from training.data.letters.source import split_of_family

SPLITS = ("train", "validation", "test")
# Each family differs in one thing from the first.
STYLES = [{}, {"stem": 150}, {"lean": 0.25}, {"across": 600}, {"stem": 120, "bar": 25}, {"serif": 60}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GANTRY_DATA_DIR", raising=False)
    for number, style in enumerate(STYLES):
        write_font(tmp_path / "letters" / family_in("train", number) / "a.ttf", **style)
    for split, stem in (("validation", 100), ("test", 110)):
        write_font(tmp_path / "letters" / family_in(split) / "a.ttf", stem=stem)
    return tmp_path


def values(dataset: ImageDataset, attribute: str) -> list[float]:
    """An attribute of each training font, in the order of `STYLES`."""
    assert dataset.attributes is not None
    column = dataset.attributes[:, list(dataset.attribute_meanings).index(attribute)]
    fonts = column.reshape(-1, 52)
    assert (fonts == fonts[:, :1]).all()  # one style has one value
    order = sorted(range(len(STYLES)), key=lambda number: family_in("train", number))
    return [fonts[order.index(number), 0].item() for number in range(len(STYLES))]


@pytest.mark.parametrize("attribute", MEASURES)
def test_each_attribute_is_highest_for_the_font_that_has_it(folder: Path, attribute: str) -> None:
    style = 1 + list(MEASURES).index(attribute)
    found = values(load("letters", "train", folder), attribute)
    assert max(found) == found[style] == 1
    assert min(found) >= -1
    assert sorted(found)[-2] < 0.9


def test_splits_hold_out_whole_families(folder: Path) -> None:
    parts = [load("letters", split, folder) for split in SPLITS]
    assert [len(part) for part in parts] == [len(STYLES) * 52, 52, 52]
    assert all(part.counts == {"train": len(STYLES) * 52, "validation": 52, "test": 52} for part in parts)
    assert [part.split for part in parts] == list(SPLITS)
    # On the scale of the training fonts both are between regular and bold, and the second is bolder.
    assert -1 < parts[1].attributes[0, 0] < parts[2].attributes[0, 0] < 1


def test_a_family_goes_with_those_of_its_first_word() -> None:
    assert split_of_family("Roboto") == split_of_family("Roboto Condensed") == split_of_family("roboto mono")
    shares = [[split_of_family(f"Name{place}") for place in range(2000)].count(split) / 2000 for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_pictures_classes_and_licence(folder: Path) -> None:
    train = load("letters", "train", folder)
    assert train.images.shape[1:] == (1, 64, 64)
    assert train.class_names[:2] + train.class_names[-2:] == ("A", "B", "y", "z")
    assert train.labels.bincount().tolist() == [len(STYLES)] * 52
    assert "\n" not in train.licence
    assert train.licence.startswith("Letters drawn from 8 font families. OFL-1.1: Family")
    assert all(family_in(split) in train.licence for split in SPLITS)
    assert "52 classes" in describe(train)


def test_the_folder_may_be_the_fonts_own(folder: Path) -> None:
    assert torch.equal(load("letters", "test", folder / "letters").images, load("letters", "test", folder).images)


def test_what_cannot_be_used_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="letters: name a folder of fonts with --data-dir or GANTRY_DATA_DIR"):
        load("letters", "train")
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"no fonts .* in .*empty, which --data-dir names; python -m .*fetch FOLDER"):
        load("letters", "train", folder / "empty")
    with pytest.raises(DataError, match="--size 32: letters is 64×64; leave --size out"):
        load("letters", "train", folder, size=32)
    write_font(folder / "few" / family_in("train") / "a.ttf")
    with pytest.raises(DataError, match="few has no families for validation; add families"):
        load("letters", "train", folder / "few")
