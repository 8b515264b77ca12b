"""The figure of a tick puts generators in the order that the eye does."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from training.config.paired import PairedConfig
from training.config.translation import TranslationConfig
from training.data import PairedDataset, UnpairedDataset
from training.evaluation.quality import DIFFERENCE, QUALITY, random_features, validation_quality
from training.recipes import RECIPES

CPU = torch.device("cpu")
CONFIG = RECIPES["cgan"].config("digits")


class Degraded(nn.Module):
    """Gives test pictures of a class after something was done to them."""

    def __init__(self, test, change):
        super().__init__()
        self.by_class = [test.images[test.labels == label].float() / 127.5 - 1 for label in range(10)]
        self.change = change

    def forward(self, z, condition):
        picks = zip(condition.argmax(1).tolist(), (z[:, 0].abs() * 1e4).long().tolist(), strict=True)
        return self.change(
            torch.stack([self.by_class[label][pick % len(self.by_class[label])] for label, pick in picks])
        )


def noisy(amount):
    return lambda images: images + amount * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def quality(digits):
    return validation_quality(CONFIG, digits("validation"), CPU)


def test_worse_pictures_have_a_greater_figure(quality, digits):
    changes = {
        "real": lambda images: images,
        "little noise": noisy(0.2),
        "much noise": noisy(0.6),
        "blurred": lambda images: nn.functional.avg_pool2d(images, 3, 1, 1),
        "collapsed": lambda images: images[1:2].expand(len(images), -1, -1, -1),
        "grey": torch.zeros_like,
    }
    figures = {name: quality(Degraded(digits("test"), change))[QUALITY] for name, change in changes.items()}

    assert abs(figures["real"]) < 0.002
    assert figures["real"] < figures["little noise"] < figures["much noise"]
    for worse in ("much noise", "blurred", "collapsed", "grey"):
        assert figures[worse] > 0.01, worse


def test_the_same_generator_has_the_same_figure_and_keeps_its_mode(quality, digits):
    generator = Degraded(digits("test"), noisy(0.2)).train()
    assert quality(generator) == quality(generator)
    assert generator.training


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 1, 28, 28), (2, 3, 32, 32), (2, 3, 128, 128)])
def test_features_fit_any_pictures(shape):
    images = torch.randint(256, shape, dtype=torch.uint8)
    features = random_features(images)
    assert features.shape == (2, 512)
    torch.testing.assert_close(random_features(images[:1]), features[:1])


def test_colour_is_seen(digits):
    colour = replace(digits("validation"), images=digits("validation").images.repeat(1, 3, 1, 1))
    test = replace(digits("test"), images=digits("test").images.repeat(1, 3, 1, 1))
    quality = validation_quality(CONFIG, colour, CPU)
    tinted = quality(Degraded(test, lambda images: images * torch.tensor([1, 0.7, 0.7]).view(3, 1, 1)))[QUALITY]
    assert tinted > 10 * abs(quality(Degraded(test, lambda images: images))[QUALITY])


class Shift(nn.Module):
    """Adds a constant to all of a picture."""

    def __init__(self, change: float) -> None:
        super().__init__()
        self.change = change

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures + self.change


def test_translations_are_compared_with_the_target_domain():
    source = torch.Generator().manual_seed(0)
    dark, light = (
        [torch.randint(low, low + 60, (3, 40, 50), generator=source).byte() for _ in range(12)] for low in (20, 180)
    )
    config = TranslationConfig(recipe="cyclegan", data="shades", total_images=1, tick=1).changed(
        {"crop.size": 32, "crop.min_side": 32, "crop.max_side": 32}
    )
    quality = validation_quality(config, UnpairedDataset("shades", "validation", dark, light), CPU)

    def pair(change: float) -> nn.Module:
        return nn.ModuleDict({"a_to_b": Shift(change), "b_to_a": Shift(-change)})

    figures = [quality(pair(change / 127.5))[QUALITY] for change in (0, 80, 160)]
    assert figures[0] > figures[1] > figures[2]
    assert figures[2] < 0.05 * figures[0]


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_where_there_are_targets_their_l1_comes_first(direction: str):
    source = torch.Generator().manual_seed(0)
    dark = [torch.randint(20, 80, (3, 40, 50), generator=source).byte() for _ in range(6)]
    config = PairedConfig(recipe="pix2pix", data="shades", total_images=1, tick=1, direction=direction).changed(
        {"generator.depth": 3, "crop.size": 32, "crop.min_side": 32, "crop.max_side": 32}
    )
    pairs = PairedDataset("shades", "validation", dark, [picture + 160 for picture in dark])
    quality = validation_quality(config, pairs, CPU)
    sign = 1 if direction == "a_to_b" else -1
    figures = [quality(nn.ModuleDict({direction: Shift(sign * change / 127.5)})) for change in (0, 80, 160)]
    assert [next(iter(each)) for each in figures] == [DIFFERENCE] * 3
    assert [each[DIFFERENCE] for each in figures] == pytest.approx([160 / 255, 80 / 255, 0], abs=1e-3)
    assert figures[2][QUALITY] < 0.05 * figures[0][QUALITY]
