"""What is remembered of a data set."""

import torch

from training.data import DatasetInfo, ImageDataset


def make(**changes) -> ImageDataset:
    fields = {
        "name": "dots",
        "split": "train",
        "images": torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
        "labels": torch.tensor([0, 1, 0, 1]),
        "class_names": ("no", "yes"),
        "licence": "ours",
    }
    return ImageDataset(**{**fields, **changes})


def test_info_is_what_a_model_must_remember() -> None:
    info = make().info
    assert info == DatasetInfo(
        "dots",
        channels=1,
        size=8,
        class_names=("no", "yes"),
        licence="ours",
        images=4,
        fingerprint=info.fingerprint,
    )


def test_pictures_may_have_no_classes() -> None:
    assert make(labels=None, class_names=()).info.class_names == ()


def test_the_fingerprint_tells_other_pictures_labels_and_classes() -> None:
    others = [
        make(),
        make(images=torch.ones(4, 1, 8, 8, dtype=torch.uint8)),
        make(images=torch.zeros(4, 4, 4, 4, dtype=torch.uint8)),
        make(labels=torch.tensor([0, 1, 1, 0])),
        make(labels=None, class_names=()),
        make(class_names=("yes", "no")),
    ]
    assert len({other.info.fingerprint for other in others}) == len(others)
    assert make(name="spots").info.fingerprint == make().info.fingerprint
