"""The classifier takes any small image size, and its layers add up to the whole."""

import pytest
import torch
from torch import nn

from training.nets.classifier import Classifier


@pytest.mark.parametrize(
    ("channels", "height", "width", "expected_poolings"),
    [(1, 28, 28, 2), (1, 16, 16, 2), (3, 32, 32, 3), (1, 7, 7, 0), (1, 20, 9, 2), (3, 128, 128, 4)],
)
def test_it_fits_the_image_size(channels, height, width, expected_poolings):
    classifier = Classifier(channels, height, width, classes=4, filters=4, features=6).eval()
    images = torch.rand(3, channels, height, width) * 2 - 1

    assert classifier.features(images).shape == (3, 6)
    assert classifier(images).shape == (3, 4)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in classifier.body) == expected_poolings


def test_logits_of_features_are_the_forward_pass():
    classifier = Classifier(1, 8, 8, classes=5, filters=4, features=7).eval()
    images = torch.rand(4, 1, 8, 8) * 2 - 1

    features = classifier.features(images)

    assert (features >= 0).all()
    assert torch.equal(classifier.head(features), classifier(images))


def test_an_image_is_classified_alike_alone_and_in_company():
    classifier = Classifier(1, 8, 8, classes=5, filters=4, features=7).eval()
    images = torch.rand(6, 1, 8, 8) * 2 - 1

    torch.testing.assert_close(classifier(images[2:3]), classifier(images)[2:3])
