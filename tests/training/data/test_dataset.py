"""An ImageDataset checks itself."""

import pytest
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
    expected = DatasetInfo("dots", channels=1, size=8, class_names=("no", "yes"), licence="ours", images=4)
    assert make().info == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": torch.zeros(4, 1, 8, 8)}, "images must be uint8"),
        ({"images": torch.zeros(4, 8, 8, dtype=torch.uint8)}, "images must be uint8"),
        ({"images": torch.zeros(4, 1, 8, 6, dtype=torch.uint8)}, r"images must be square, got \[8, 6\]"),
        ({"labels": torch.tensor([0, 1])}, "one for each of 4 images"),
        ({"labels": torch.tensor([0, 1, 0, 2])}, r"labels must lie in \[0, 2\)"),
        ({"labels": torch.tensor([0, 1, 0, -1])}, r"labels must lie in \[0, 2\)"),
        (
            {"images": torch.zeros(0, 1, 8, 8, dtype=torch.uint8), "labels": torch.zeros(0, dtype=torch.int64)},
            "there are no images",
        ),
    ],
)
def test_refuses_tensors_that_do_not_fit(changes, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"dots \(train\): .*{reason}"):
        make(**changes)
