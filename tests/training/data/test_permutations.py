"""The order of a data set: every image once an epoch, and a function of seed, name and place alone."""

import torch

from training.data.streams import shuffled


def test_every_epoch_has_every_index_once_in_another_order() -> None:
    epochs = shuffled(7, 0, 0, 21).view(3, 7)
    assert [sorted(epoch.tolist()) for epoch in epochs] == [list(range(7))] * 3
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3


def test_a_part_is_the_same_wherever_one_begins() -> None:
    whole = shuffled(7, 0, 0, 40)
    for start in reversed(range(0, 35, 5)):
        assert torch.equal(shuffled(7, 0, start, 5), whole[start : start + 5])
    assert torch.equal(shuffled(7, 0, 3, 30), whole[3:33])  # spans several epochs


def test_other_seeds_and_names_give_other_orders() -> None:
    streams = [shuffled(50, seed, 0, 50, *names) for seed, *names in ((0,), (1,), (0, "A"), (0, "B"))]
    assert len({tuple(stream.tolist()) for stream in streams}) == len(streams)


def test_a_single_image_is_shown_again_and_again() -> None:
    assert shuffled(1, 0, 5, 3).tolist() == [0, 0, 0]
