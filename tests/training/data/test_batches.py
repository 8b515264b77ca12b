"""The stream of batches: a function of (seed, step), every image once an epoch, the same in memory and streamed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training.data.files import as_folder, as_zip, encoded
from training.data import Batches, DataError, ImageDataset, describe
from training.data.folders import load_pictures
from training.data.streams import Squares

SIZE = 10


@pytest.fixture
def dataset() -> ImageDataset:
    """Ten images, each of one grey level, which is also its label."""
    labels = torch.arange(SIZE)
    images = (labels * 25).to(torch.uint8).view(SIZE, 1, 1, 1).expand(SIZE, 1, 4, 4)
    return ImageDataset("levels", "train", images, labels, tuple("abcdefghij"), "ours")


def source(dataset: ImageDataset, batch: int = 4, seed: int = 0) -> Batches:
    return Batches(dataset, batch, seed, torch.device("cpu"))


def test_a_batch_does_not_depend_on_what_was_asked_before(dataset: ImageDataset) -> None:
    in_order = source(dataset)
    wanted = [in_order.batch(step)[1]["labels"] for step in range(9)]
    for step in (7, 0, 8, 2):
        assert torch.equal(source(dataset).batch(step)[1]["labels"], wanted[step])
    backwards = source(dataset)
    assert all(torch.equal(backwards.batch(step)[1]["labels"], wanted[step]) for step in reversed(range(9)))


def test_every_epoch_shows_every_image_once_though_batches_span_epochs(dataset: ImageDataset) -> None:
    batches = source(dataset)
    stream = torch.cat([batches.batch(step)[1]["labels"] for step in range(5)]).view(2, SIZE)
    assert [sorted(epoch.tolist()) for epoch in stream] == [list(range(SIZE))] * 2
    assert not torch.equal(stream[0], stream[1])


def test_a_batch_may_be_larger_than_the_data_set(dataset: ImageDataset) -> None:
    labels = source(dataset, batch=25).batch(1)[1]["labels"]
    assert labels.bincount(minlength=SIZE).min() >= 2
    assert len(labels) == 25


def test_another_seed_gives_another_order(dataset: ImageDataset) -> None:
    first, other = (source(dataset, batch=10, seed=seed).batch(0)[1]["labels"] for seed in (0, 1))
    assert not torch.equal(first, other)


def test_images_are_scaled_and_stay_with_their_labels(dataset: ImageDataset) -> None:
    images, known = source(dataset, batch=10).batch(0)
    assert images.dtype == torch.float32
    expected = known["labels"] * 25 / 127.5 - 1
    torch.testing.assert_close(images, expected.view(-1, 1, 1, 1).expand(-1, 1, 4, 4))


def test_what_is_not_known_of_the_data_is_not_in_a_batch() -> None:
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    assert source(ImageDataset("dots", "train", images, None, (), "ours")).batch(0)[1] == {}


def test_attributes_stay_with_their_images_and_are_part_of_the_fingerprint(dataset: ImageDataset) -> None:
    attributes = torch.linspace(-1, 1, SIZE)[:, None]
    measured = replace(dataset, attributes=attributes, attribute_meanings={"weight": "how bold it is"})
    _, known = source(measured).batch(0)
    assert torch.equal(known["attributes"], attributes[known["labels"]])
    other = replace(measured, attributes=-attributes)
    assert len({each.info.fingerprint for each in (dataset, measured, other)}) == 3
    assert measured.info.attribute_meanings == {"weight": "how bold it is"}


def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets pictures of more than 1,000 bytes be streamed."""
    monkeypatch.setattr("training.data.folders.MEMORY_BUDGET", 1000)


def noise(count: int, *folders: str) -> dict[str, bytes]:
    return {f"{each}{n}.png": encoded(Image.effect_noise((30, 30), 90)) for each in folders for n in range(count)}


@pytest.mark.parametrize("write", [as_folder, as_zip])
def test_streamed_batches_equal_resident_ones_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write
) -> None:
    path = write(tmp_path / "own", noise(20, "a/", "b/"))
    resident = load_pictures(path, "own", "train")
    little_memory(monkeypatch)
    streamed = load_pictures(path, "own", "train")
    assert isinstance(resident.images, torch.Tensor)
    assert isinstance(streamed.images, Squares)
    assert streamed.info.images == resident.info.images
    assert (
        describe(streamed) == describe(resident) + "\ntoo many to be held in memory: decoded while they are trained on"
    )
    wanted, given = source(resident), source(streamed)
    for step in (0, 1, 2, 3, 11, 2, 30):
        (images, known), (others, others_known) = given.batch(step), wanted.batch(step)
        assert torch.equal(images, others)
        assert torch.equal(known["labels"], others_known["labels"])
    assert torch.equal(streamed.images[5:9], resident.images[5:9])


def test_only_a_few_batches_are_decoded_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    class Counted(Squares):
        def __getitem__(self, index: torch.Tensor | slice) -> torch.Tensor:
            images = super().__getitem__(index)
            decoded.append(len(images))
            return images

    little_memory(monkeypatch)
    monkeypatch.setattr("training.data.folders.Squares", Counted)
    batches = source(load_pictures(as_folder(tmp_path, noise(100, "")), "own", "train"))
    for step in range(20):
        batches.batch(step)
        assert set(decoded) == {4}
        assert step < len(decoded) <= step + 4


def test_the_fingerprint_of_streamed_pictures_follows_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little_memory(monkeypatch)

    def fingerprint() -> str:
        return load_pictures(tmp_path, "own", "train", 28).info.fingerprint

    as_folder(tmp_path, noise(20, ""))
    before = fingerprint()
    (tmp_path / "5.png").touch()
    assert fingerprint() == before
    as_folder(tmp_path, noise(21, ""))
    assert fingerprint() != before


def test_a_streamed_picture_that_cannot_be_decoded_is_named_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little_memory(monkeypatch)
    files = noise(20, "")
    as_folder(tmp_path, {name: content[:-300] for name, content in files.items()})
    batches = source(load_pictures(tmp_path, "own", "train"))
    with pytest.raises(DataError, match=r"\.png: not a readable picture: image file is truncated"):
        batches.batch(0)
