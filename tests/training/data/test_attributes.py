"""Our own table of what is known of pictures in numbers."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training.data.files import WRITERS, as_folder, encoded
from training.data import DataError, ImageDataset, describe
from training.data.folders import load_pictures

COUNT = 20


def numbered(folder: str = "", count: int = COUNT) -> dict[str, bytes]:
    """Grey pictures of 28 pixels, each of its own level."""
    return {f"{folder}{number:02}.png": encoded(Image.new("L", (28, 28), number)) for number in range(count)}


def table(folder: str = "", count: int = COUNT) -> str:
    """Each picture's number as its age, and its negative as its height."""
    return "picture,age, height\n" + "".join(f"{folder}{n:02}.png,{n},{-n}.0\n" for n in range(count))


def splits(path: Path) -> list[ImageDataset]:
    return [load_pictures(path, "own", split) for split in ("train", "validation", "test")]


def ages(dataset: ImageDataset) -> torch.Tensor:
    return dataset.images[:, 0, 0, 0].float()


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar.gz"])
@pytest.mark.parametrize(("around", "inside"), [("", ""), ("own/", ""), ("", "faces/")])
def test_numbers_are_scaled_by_their_range_in_the_training_split(
    tmp_path: Path, suffix: str, around: str, inside: str
) -> None:
    files = {**numbered(around + inside), f"{around}attributes.csv": table(inside).encode()}
    datasets = splits(WRITERS[suffix](tmp_path / f"own{suffix}", files))
    least, most = ages(datasets[0]).aminmax()
    for dataset in datasets:
        expected = ((ages(dataset) - least) / (most - least) * 2 - 1).clamp(-1, 1)
        torch.testing.assert_close(dataset.attributes, torch.stack([expected, -expected], dim=1))
        assert list(dataset.attribute_meanings) == ["age", "height"]
    assert datasets[0].attributes.aminmax() == (-1, 1)
    assert datasets[0].attribute_meanings["age"] == f"age: -1 is {least:g}, 1 is {most:g}"
    assert "no classes, 2 attributes: age, height" in describe(datasets[0])


def test_what_is_beyond_the_range_is_at_its_end(tmp_path: Path) -> None:
    parts = {**numbered("train/"), **{f"test/{name}": file for name, file in numbered().items()}}
    rows = "".join(f"{name},{int(Path(name).stem) + 100 * name.startswith('test')}\n" for name in parts)
    test = splits(as_folder(tmp_path, {**parts, "attributes.csv": f"file,n\n{rows}".encode()}))[2]
    assert test.attributes.tolist() == [[1.0]] * COUNT


def test_classes_may_stand_beside_attributes(tmp_path: Path) -> None:
    files = numbered("cat/") | numbered("dog/")
    text = table("cat/") + "".join(table("dog/").splitlines(keepends=True)[1:])
    train = splits(as_folder(tmp_path, {**files, "attributes.csv": text.encode()}))[0]
    assert train.class_names == ("cat", "dog")
    assert train.known.keys() == {"labels", "attributes"}
    assert describe(train).split("28×28, ")[1].startswith("2 classes: cat, dog, 2 attributes: age, height")


def test_other_numbers_are_other_data(tmp_path: Path) -> None:
    path = as_folder(tmp_path, {**numbered(), "attributes.csv": table().encode()})
    before = load_pictures(path, "own", "train").info
    (path / "attributes.csv").write_text(table().replace("05.png,5,-5.0", "05.png,5,-6.0"))
    after = load_pictures(path, "own", "train").info
    assert before.fingerprint != after.fingerprint
    assert before.attribute_meanings == after.attribute_meanings


def test_spreadsheets_and_people_write_it_in_their_ways(tmp_path: Path) -> None:
    """With a mark before the first line, two characters after each, quotes, blank lines, and pictures that are gone."""
    path = as_folder(tmp_path, {**numbered(), "attributes.csv": table().encode()})
    plain = load_pictures(path, "own", "train").attributes
    text = "\ufeff" + table().replace("05.png", '"./05.png"').replace("\n", "\r\n\r\n") + "gone.png,1e9,0\r\n"
    (path / "attributes.csv").write_bytes(text.encode())
    assert torch.equal(load_pictures(path, "own", "train").attributes, plain)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: expected the names of the columns, no two alike: the path's, then those of numbers"),
        ("picture\n00.png\n", "line 1: expected the names"),
        ("picture,age,age\n", "line 1: expected the names"),
        ("picture,age,\n", "line 1: expected the names"),
        ("picture,age\n00.png,old\n", r"line 2: expected a path that no earlier line has and 1 number\(s\), for age"),
        ("picture,age\n00.png,nan\n", "line 2: expected a path"),
        ("picture,age\n00.png,\n", "line 2: expected a path"),
        ("picture,age\n00.png,1\n01.png,2,3\n", "line 3: expected a path"),
        ("picture,age\n00.png,1\n./00.png,1\n", "line 3: expected a path that no earlier line has"),
        (table(count=19), "expected a line for every picture, there is none for 19.png"),
        ("picture,age\n", "expected a line for every picture, there is none for 00.png"),
        (
            "picture,age\n" + "".join(f"{each:02}.png,7\n" for each in range(COUNT)),
            "expected different numbers in column 'age', every picture to train on has 7",
        ),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = as_folder(tmp_path, {**numbered(), "attributes.csv": text.encode()})
    with pytest.raises(DataError, match=f"^{path}: attributes.csv: {reason}"):
        load_pictures(path, "own", "train")


def test_two_tables_are_refused(tmp_path: Path) -> None:
    files = {**numbered("a/"), **numbered("b/"), "a/attributes.csv": b"", "b/attributes.csv": b""}
    with pytest.raises(DataError, match=r"expected one attributes\.csv, found a/attributes\.csv and b/attributes\.csv"):
        load_pictures(as_folder(tmp_path, files), "own", "train")
