"""Differentiable augmentation: each policy against what it says, and gradients through all of them."""

import pytest
import torch

from tests.training.tiny import gan
from training.augmentations.differentiable import DifferentiableAugmentation, coloured, cut_out, translated
from training.config import ConfigError

IMAGES = torch.rand(3, 3, 16, 16) * 2 - 1
MIDDLE = 0.5


def test_the_middle_of_every_draw_leaves_colours_as_they_are() -> None:
    torch.testing.assert_close(coloured(IMAGES, torch.full((3, 3), MIDDLE)), IMAGES)


def test_each_number_changes_its_own_colour() -> None:
    brighter = coloured(IMAGES, torch.tensor([[1.0, MIDDLE, MIDDLE]] * 3))
    torch.testing.assert_close(brighter, IMAGES + 0.5)
    grey = coloured(IMAGES, torch.tensor([[MIDDLE, 0.0, MIDDLE]] * 3))
    torch.testing.assert_close(grey, IMAGES.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    sharper = coloured(IMAGES, torch.tensor([[MIDDLE, MIDDLE, 1.0]] * 3))
    torch.testing.assert_close(sharper.std((1, 2, 3)), 1.5 * IMAGES.std((1, 2, 3)))
    torch.testing.assert_close(sharper.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)))


def test_a_translation_moves_by_whole_pixels_and_leaves_zeros() -> None:
    moved = translated(IMAGES, torch.tensor([[0.0, MIDDLE], [MIDDLE, 0.999], [MIDDLE, MIDDLE]]))
    torch.testing.assert_close(moved[0, :, :-2], IMAGES[0, :, 2:])  # two pixels up: an eighth of 16
    assert not moved[0, :, -2:].any()
    torch.testing.assert_close(moved[1, :, :, 2:], IMAGES[1, :, :, :-2])
    assert not moved[1, :, :, :2].any()
    torch.testing.assert_close(moved[2], IMAGES[2])


def test_a_cutout_is_a_square_of_half_the_side_wherever_it_lies() -> None:
    cut = cut_out(torch.ones(2, 1, 16, 16), torch.tensor([[MIDDLE, MIDDLE], [0.0, 1.0]]))
    assert not cut[0, 0, 4:12, 4:12].any()
    assert cut[0].sum() == 256 - 64
    assert not cut[1, 0, :4, 12:].any()
    assert cut[1].sum() == 256 - 16


def test_gradients_come_through_all_of_it() -> None:
    augmentation = DifferentiableAugmentation()
    images = IMAGES.clone().requires_grad_()
    draws = {name: draw(3, torch.Generator()) for name, draw in augmentation.draws(None).items()}
    augmentation.changed(images, draws, torch.zeros(3)).square().sum().backward()
    assert (images.grad != 0).float().mean() > 0.4


def test_an_unknown_policy_is_refused_by_its_flag() -> None:
    with pytest.raises(
        ConfigError, match=r"--set augmentations.differentiable.policy=colour: each must be one of color"
    ):
        gan(augmentations__differentiable__policy="colour")
