"""What a deformation does to a picture."""

import pytest
import torch

from training.terms.deformation import DRAWS, Deformation, deformed


def test_no_deformation_leaves_the_picture() -> None:
    images = torch.rand(3, 1, 12, 12)
    torch.testing.assert_close(deformed(images, torch.zeros(3, DRAWS)), images, atol=1e-5, rtol=0)


def test_each_picture_is_shifted_by_its_own_share() -> None:
    images = torch.zeros(2, 1, 10, 10)
    images[:, 0, 5, 5] = 1
    draws = torch.zeros(2, DRAWS)
    draws[0, 2], draws[1, 3] = 1, -1
    moved = deformed(images, draws, Deformation(shift=0.2))
    assert moved[0, 0, 5, 3] == pytest.approx(1, abs=1e-4)
    assert moved[1, 0, 7, 5] == pytest.approx(1, abs=1e-4)


def test_a_scale_enlarges_and_a_shear_keeps_the_ink() -> None:
    images = torch.zeros(2, 1, 20, 20)
    images[:, 0, 8:12, 8:12] = 1
    draws = torch.zeros(2, DRAWS)
    draws[0, 1], draws[1, 0] = 1, 1
    large, sheared = deformed(images, draws, Deformation(scale=0.5, shear=0.5)).sum((1, 2, 3)).tolist()
    assert large == pytest.approx(16 * 1.5**2, rel=0.15)
    assert sheared == pytest.approx(16, rel=0.1)


def test_a_shear_moves_the_top_against_the_foot() -> None:
    images = torch.zeros(1, 1, 21, 21)
    images[:, 0, :, 10] = 1
    columns = deformed(images, torch.tensor([[1.0, 0, 0, 0]]), Deformation(shear=0.5))[0, 0].argmax(1)
    assert columns[0] - columns[-1] == pytest.approx(10, abs=1)
    assert columns[10] == 10


def test_under_bfloat16_it_is_what_it_is_in_float32() -> None:
    """Coordinates in bfloat16 would be off by up to a 256th of the side, and intensities by a tenth."""
    images, draws = torch.rand(16, 1, 28, 28) * 2 - 1, torch.rand(16, DRAWS) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        mixed = deformed(images, draws)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, deformed(images, draws))
