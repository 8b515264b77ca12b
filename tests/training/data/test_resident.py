"""The stream of batches: a function of (seed, step), and every image once an epoch."""

import pytest
import torch

from training.data import ImageDataset, ResidentBatches

SIZE = 10


@pytest.fixture
def dataset() -> ImageDataset:
    """Ten images, each of one grey level, which is also its label."""
    labels = torch.arange(SIZE)
    images = (labels * 25).to(torch.uint8).view(SIZE, 1, 1, 1).expand(SIZE, 1, 4, 4)
    return ImageDataset("levels", "train", images, labels, tuple("abcdefghij"), "ours")


def source(dataset: ImageDataset, batch: int = 4, seed: int = 0) -> ResidentBatches:
    return ResidentBatches(dataset, batch, seed, torch.device("cpu"))


def test_a_batch_does_not_depend_on_what_was_asked_before(dataset: ImageDataset) -> None:
    in_order = source(dataset)
    wanted = [in_order.batch(step)[1] for step in range(9)]
    for step in (7, 0, 8, 2):
        assert torch.equal(source(dataset).batch(step)[1], wanted[step])
    backwards = source(dataset)
    assert all(torch.equal(backwards.batch(step)[1], wanted[step]) for step in reversed(range(9)))


def test_every_epoch_shows_every_image_once_though_batches_span_epochs(dataset: ImageDataset) -> None:
    batches = source(dataset)
    stream = torch.cat([batches.batch(step)[1] for step in range(5)]).view(2, SIZE)
    assert [sorted(epoch.tolist()) for epoch in stream] == [list(range(SIZE))] * 2
    assert not torch.equal(stream[0], stream[1])


def test_a_batch_may_be_larger_than_the_data_set(dataset: ImageDataset) -> None:
    _, labels = source(dataset, batch=25).batch(1)
    assert labels.bincount(minlength=SIZE).min() >= 2
    assert len(labels) == 25


def test_another_seed_gives_another_order(dataset: ImageDataset) -> None:
    assert not torch.equal(source(dataset, batch=10).batch(0)[1], source(dataset, batch=10, seed=1).batch(0)[1])


def test_images_are_scaled_and_stay_with_their_labels(dataset: ImageDataset) -> None:
    images, labels = source(dataset, batch=10).batch(0)
    assert images.dtype == torch.float32
    expected = labels * 25 / 127.5 - 1
    torch.testing.assert_close(images, expected.view(-1, 1, 1, 1).expand(-1, 1, 4, 4))
