"""The pool of earlier translations: what it gives back, and that it survives a stop."""

import torch
from torch import Tensor

from training.data import ImagePool


def numbered(number: int, count: int = 1) -> Tensor:
    """Pictures whose every value is their number."""
    return torch.arange(number, number + count).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def run(pool: ImagePool, steps: range) -> list[int]:
    return [int(pool.exchange(numbered(step), step)[0, 0, 0, 0]) for step in steps]


def test_without_capacity_it_gives_back_what_it_is_given() -> None:
    pool = ImagePool(0, seed=0, name="A")
    assert run(pool, range(20)) == list(range(20))
    assert pool.state_dict() == {"kept": []}


def test_until_it_is_full_it_gives_back_what_it_is_given() -> None:
    assert run(ImagePool(8, seed=0, name="A"), range(8)) == list(range(8))


def test_once_full_half_of_the_pictures_are_old_and_none_is_given_back_twice() -> None:
    shown = run(ImagePool(8, seed=0, name="A"), range(2008))
    old = [step - number for step, number in enumerate(shown) if number != step]
    assert 0.45 < len(old) / 2000 < 0.55
    kept_back = [number for step, number in enumerate(shown) if number != step]
    assert len(set(kept_back)) == len(kept_back)
    # A kept picture leaves with probability 1/2 x 1/8 a step, so it is 16 steps old on average.
    assert 14 < sum(old) / len(old) < 18


def test_it_is_a_function_of_seed_name_and_step() -> None:
    first = run(ImagePool(4, seed=0, name="A"), range(100))
    assert run(ImagePool(4, seed=0, name="A"), range(100)) == first
    assert run(ImagePool(4, seed=1, name="A"), range(100)) != first
    assert run(ImagePool(4, seed=0, name="B"), range(100)) != first


def test_its_state_goes_on_where_it_was() -> None:
    unbroken, stopped, resumed = (ImagePool(4, seed=0, name="A") for _ in range(3))
    expected = run(unbroken, range(60))
    run(stopped, range(30))
    resumed.load_state_dict(stopped.state_dict())
    assert run(resumed, range(30, 60)) == expected[30:]


def test_what_is_kept_is_neither_changed_nor_part_of_a_graph() -> None:
    pool, pictures = ImagePool(2, seed=0, name="A"), numbered(1, count=2).clone().requires_grad_()
    given_back = pool.exchange(pictures * 1, step=0)
    assert not given_back.requires_grad
    given_back.zero_()
    kept = pool.state_dict()["kept"]
    assert [picture.mean().item() for picture in kept] == [1, 2]
    assert not any(picture.requires_grad for picture in kept)


def test_a_batch_keeps_its_shape() -> None:
    assert ImagePool(3, seed=0, name="A").exchange(numbered(0, count=5), step=0).shape == (5, 3, 2, 2)
