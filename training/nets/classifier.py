"""A small convolutional classifier, whose penultimate layer is what quality figures are measured in."""

from torch import Tensor, nn

_SMALLEST = 7
"""Feature maps are halved until their longer side is at most this."""

_LARGEST = 64
"""Larger images are halved first: full resolution would cost most of the time and tell classes apart no better."""


class Classifier(nn.Module):
    """Pairs of 3x3 convolutions with pooling between them, one hidden layer of features, one linear layer of logits."""

    def __init__(
        self, channels: int, height: int, width: int, classes: int, filters: int = 32, features: int = 128
    ) -> None:
        """Builds the net for one image size.

        Args:
            channels: Channels of the images.
            height: Their height in pixels.
            width: Their width in pixels.
            classes: How many classes it tells apart.
            filters: Filters of the first pair of convolutions; each later pair has twice as many, at most 4x these.
            features: Size of the penultimate layer.
        """
        super().__init__()
        stages: list[nn.Module] = []
        while max(height, width) > _LARGEST:
            stages.append(nn.AvgPool2d(2, ceil_mode=True))
            height, width = -(-height // 2), -(-width // 2)
        inputs, outputs = channels, filters
        while max(height, width) > _SMALLEST:
            for before in (inputs, outputs):
                convolution = nn.Conv2d(before, outputs, 3, padding=1, bias=False)
                stages += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            stages.append(nn.MaxPool2d(2, ceil_mode=True))
            inputs, outputs = outputs, min(2 * outputs, 4 * filters)
            height, width = -(-height // 2), -(-width // 2)
        hidden = nn.Linear(inputs * height * width, features, bias=False)
        self.body = nn.Sequential(*stages, nn.Flatten(), hidden, nn.BatchNorm1d(features), nn.ReLU(inplace=True))
        self.head = nn.Linear(features, classes)

    def features(self, images: Tensor) -> Tensor:
        """The penultimate layer, [B, features], none negative, of images [B, C, H, W] in [-1, 1]."""
        result: Tensor = self.body(images)
        return result

    def forward(self, images: Tensor) -> Tensor:
        """Unnormalised log-probabilities, [B, classes], of images [B, C, H, W] in [-1, 1]."""
        result: Tensor = self.head(self.features(images))
        return result
