"""Random crops: a function of (seed, step), of all scales asked for, mirrored half of the time."""

import torch
from torch import Tensor

from training.config import CropConfig
from training.data import PairedCrops, PairedDataset, UnpairedCrops, UnpairedDataset

CPU = torch.device("cpu")


def ramp(height: int, width: int, span: float = 255) -> Tensor:
    """A picture whose red grows from left to right and whose green from top to bottom, over the span in all."""
    red = torch.linspace(0, span, width).expand(height, width)
    green = torch.linspace(0, span, height)[:, None].expand(height, width)
    return torch.stack([red, green, torch.zeros(height, width)]).round().to(torch.uint8)


def crops(*pictures: Tensor, size: int = 32, least: int = 32, greatest: int = 32, batch: int = 1, seed: int = 0):
    dataset = UnpairedDataset("ramps", "train", list(pictures), [255 - picture for picture in pictures])
    return UnpairedCrops(dataset, batch, CropConfig(size=size, min_side=least, max_side=greatest), seed, CPU)


def slope(crop: Tensor) -> float:
    """How much red grows over the crop, as a share of the picture's whole range; negative if mirrored."""
    return (crop[0, :, -1] - crop[0, :, 0]).mean().item() / 2


def test_a_batch_has_the_size_and_the_range_and_both_domains() -> None:
    a, b = crops(ramp(40, 48), ramp(64, 33), batch=3).batch(0)
    assert a.shape == b.shape == (3, 3, 32, 32)
    assert a.dtype == torch.float32
    assert a[:, 2].max() == -1  # no blue in A, all blue in B
    assert b[:, 2].min() > 0.9999
    assert min(a.min(), b.min()) >= -1
    assert max(a.max(), b.max()) <= 1


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    def make(seed: int = 0) -> UnpairedCrops:
        return crops(ramp(64, 64), ramp(50, 80), ramp(90, 40), greatest=64, batch=2, seed=seed)

    in_order = make()
    wanted = [in_order.batch(step) for step in range(5)]
    for step in (4, 0, 2):
        assert all(map(torch.equal, make().batch(step), wanted[step]))
    assert not torch.equal(make(seed=1).batch(0)[0], wanted[0][0])
    assert not torch.equal(wanted[0][0], wanted[3][0])


def test_every_picture_of_a_domain_is_shown_once_an_epoch() -> None:
    pictures = [torch.full((3, 40, 40), 20 * number, dtype=torch.uint8) for number in range(10)]
    source = crops(*pictures, batch=2)
    shown = torch.cat([source.batch(step)[0][:, 0, 0, 0] for step in range(5)])
    assert ((shown + 1) * 127.5).round().int().sort().values.tolist() == [20 * number for number in range(10)]


def test_about_half_of_the_crops_are_mirrored() -> None:
    source = crops(ramp(40, 40), batch=10)
    slopes = [slope(crop) for step in range(30) for crop in source.batch(step)[0]]
    mirrored = sum(value < 0 for value in slopes)
    assert 120 < mirrored < 180


def test_nothing_is_mirrored_where_that_is_not_wanted() -> None:
    crop = CropConfig(size=32, min_side=32, max_side=48, mirror=False)
    source = UnpairedCrops(UnpairedDataset("ramps", "train", [ramp(40, 40)], [ramp(40, 40)]), 10, crop, 0, CPU)
    assert all(slope(crop) > 0 for step in range(5) for domain in source.batch(step) for crop in domain)


def test_both_pictures_of_a_pair_are_cut_and_mirrored_alike() -> None:
    pictures = [ramp(64, 64), ramp(50, 80).flip(2), ramp(90, 40).flip(1)]
    dataset = PairedDataset("ramps", "train", pictures, [255 - picture for picture in pictures])
    source = PairedCrops(dataset, 2, CropConfig(size=32, min_side=32, max_side=64), 0, CPU)
    places = set()
    for step in range(20):
        a, b = source.batch(step)
        torch.testing.assert_close(b, -a, rtol=0, atol=0.01)
        places |= {round(float(crop[1].min()), 2) for crop in a}
    assert len(places) > 10  # they are cut anew each time


def test_scales_cover_the_range_that_was_asked_for() -> None:
    """A crop of 32 from a picture scaled to 32 shows all of it, and one scaled to 128 a quarter."""
    source = crops(ramp(128, 128), greatest=128, batch=10)
    shares = torch.tensor([abs(slope(crop)) for step in range(30) for crop in source.batch(step)[0]])
    assert shares.min() > 0.23
    assert shares.min() < 0.27
    assert shares.max() > 0.95
    assert 0.4 < shares.median() < 0.6  # as many lengths below 64 as above: none is favoured but by its logarithm


def test_crops_come_from_all_over_the_picture() -> None:
    source = crops(ramp(256, 256), size=32, least=128, greatest=128, batch=10)
    corners = torch.cat([source.batch(step)[0][:, :2].amin(dim=(2, 3)) for step in range(20)])
    places = (corners + 1) / 2  # of the corner nearest to the picture's own, in [0, 0.75]
    assert places.amin(dim=0).max() < 0.05
    assert places.amax(dim=0).min() > 0.7


def test_a_small_picture_is_enlarged() -> None:
    (crop,), _ = crops(ramp(8, 12), size=32, least=32, greatest=64).batch(0)
    assert crop.shape == (3, 32, 32)
    assert crop[0].amin() < crop[0].amax()


def test_shrinking_does_not_alias() -> None:
    """A fine chequerboard shrunk by four is an even grey."""
    board = torch.full((3, 128, 128), 255, dtype=torch.uint8)
    board[:, ::2, ::2] = board[:, 1::2, 1::2] = 0
    (crop,), _ = crops(board).batch(0)
    assert crop[:, 4:-4, 4:-4].abs().max() < 0.05
