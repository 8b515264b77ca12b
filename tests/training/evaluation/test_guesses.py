"""A discriminator that is a classifier, whose mistakes are known."""

import pytest
import torch
from torch import Tensor, nn

from tests.training.evaluation.conftest import NoCondition
from training.data import ImageDataset
from training.evaluation.evaluate import measure
from training.evaluation.guesses import guessed

COUNT = 200


class Dark(nn.Module):
    """A generator of black pictures, but for a spot of noise."""

    def forward(self, latents: Tensor, _condition: None) -> Tensor:
        images = -torch.ones(len(latents), 1, 16, 16)
        images[:, 0, 0, 0] = latents[:, 0].tanh()
        return images


def spots(split: str) -> ImageDataset:
    """A bright row at the place of the class; the test split has wrong labels on its first tenth."""
    labels = torch.arange(COUNT) % 3
    images = torch.randint(40, (COUNT, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(COUNT))
    images[torch.arange(COUNT), 0, 4 * labels + 2] = 255
    if split == "test":
        labels = torch.where(torch.arange(COUNT) < COUNT // 10, (labels + 1) % 3, labels)
    return ImageDataset("spots", split, images, labels, ("top", "middle", "bottom"), "ours")


def class_logits(images: Tensor) -> Tensor:
    return images[:, 0, [2, 6, 10]].mean(2)


def test_a_guess_is_the_largest_output() -> None:
    data = spots("validation")
    assert torch.equal(guessed(class_logits, data.images, torch.device("cpu")), data.labels)


def test_its_error_is_of_the_test_split_and_the_protocol_tells_that_of_validation(subject_of, tmp_path) -> None:
    subject = subject_of(Dark(), NoCondition(), spots, class_logits=class_logits, cache_dir=tmp_path, count=100)
    evaluation = measure(subject).evaluation
    assert evaluation["classification_error"].value == pytest.approx(0.1)
    assert 0.05 < evaluation["classification_error"].reference < 0.3
    assert "saw nothing, 0.00%" in evaluation.protocol["classification_error"]
