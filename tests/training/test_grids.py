"""Every image lies where it should, with its own values."""

import numpy as np
import pytest
import torch

from training.grids import BACKGROUND, GAP, enlarged_grid, grid, to_uint8


def test_to_uint8_maps_the_range_and_clips():
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5)
    assert to_uint8(values).flatten().tolist() == [0, 0, 128, 255, 255]


def test_to_uint8_undoes_the_scaling_of_every_byte():
    every_byte = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(every_byte.float() / 127.5 - 1), every_byte)
    assert to_uint8(every_byte) is every_byte


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_images_lie_row_by_row(channels, mode):
    images = torch.randint(0, 256, (5, channels, 4, 6), dtype=torch.uint8)

    picture = grid(images, columns=3, gap=1)

    assert picture.mode == mode
    assert picture.size == (3 * 7 + 1, 2 * 5 + 1)
    pixels = np.asarray(picture).reshape(11, 22, channels)
    for index, image in enumerate(images):
        top, left = 1 + 5 * (index // 3), 1 + 7 * (index % 3)
        np.testing.assert_array_equal(pixels[top : top + 4, left : left + 6], image.permute(1, 2, 0).numpy())
    assert (pixels[6:, 15:] == BACKGROUND).all()  # the place of the sixth
    assert (pixels[0] == BACKGROUND).all()
    assert (pixels[:, -1] == BACKGROUND).all()


@pytest.mark.parametrize(("size", "shown"), [(8, 64), (16, 64), (28, 56), (64, 64), (128, 128)])
def test_small_images_are_enlarged_by_a_whole_factor(size, shown):
    images = torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8)

    picture = enlarged_grid(images, columns=2)

    assert picture.size == (2 * (shown + GAP) + GAP, shown + 2 * GAP)
    first = np.asarray(picture)[GAP : GAP + shown, GAP : GAP + shown]
    factor = shown // size
    np.testing.assert_array_equal(first[::factor, ::factor], images[0, 0].numpy())
    np.testing.assert_array_equal(first, images[0, 0].numpy().repeat(factor, 0).repeat(factor, 1))


def test_rows_and_columns_have_names_beside_the_images():
    images = torch.zeros(6, 3, 32, 32, dtype=torch.uint8)
    plain = enlarged_grid(images, columns=3)

    named = enlarged_grid(images, columns=3, rows=("one", "a much longer name"), heads=("-1", "0", "1"))

    assert named.width > plain.width + 60
    assert named.height > plain.height + 10
    pixels, (left, top) = np.asarray(named)[..., 0], (named.width - plain.width, named.height - plain.height)
    np.testing.assert_array_equal(pixels[top:, left:], np.asarray(plain)[..., 0])
    for row in (0, 1):  # each name stands beside its row ...
        beside = pixels[top + GAP + 66 * row : top + 66 * (row + 1), :left]
        assert (beside < BACKGROUND).any()
    for column in (0, 1, 2):  # ... and above its column
        above = pixels[:top, left + 66 * column : left + 66 * (column + 1)]
        assert (above < BACKGROUND).any()
    assert (pixels[:top, :left] == BACKGROUND).all()
