"""What is remembered of a data set."""

import torch

from tests.training.tiny import dots
from training.data import DatasetInfo, ImageDataset, describe


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


def test_some_attributes_are_kept_in_the_order_of_the_data() -> None:
    data = dots(attributes=True)
    (name, meaning) = list(data.attribute_meanings.items())[1]
    some = data.with_attributes([name])
    assert dict(some.attribute_meanings) == {name: meaning}
    assert torch.equal(some.attributes, data.attributes[:, 1:])
    assert torch.equal(some.images, data.images)
    assert some.info.fingerprint != data.info.fingerprint


def test_attributes_are_named_before_training() -> None:
    assert describe(dots(attributes=True)).endswith("3 classes: class 0, class 1, class 2, 2 attributes: shade, place")
    assert "attributes" not in describe(dots())
