"""Resolutions from a few pixels to an image."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import ConfigError
from training.nets.resolutions import channels_at, resolutions


@pytest.mark.parametrize(
    ("size", "expected"),
    [(28, [7, 14, 28]), (32, [4, 8, 16, 32]), (80, [5, 10, 20, 40, 80]), (96, [6, 12, 24, 48, 96]), (8, [4, 8])],
)
def test_resolutions_begin_with_four_to_seven_pixels(size: int, expected: list[int]) -> None:
    assert resolutions(size) == expected


@given(st.integers(1, 4096))
def test_a_size_is_a_small_number_times_a_power_of_two_or_refused(size: int) -> None:
    if not any(size == small << doublings for small in (4, 5, 6, 7) for doublings in range(1, 11)):
        with pytest.raises(ConfigError, match=f"^--size {size}: "):
            resolutions(size)
        return
    found = resolutions(size)
    assert found[0] in (4, 5, 6, 7)
    assert found == [found[0] << doublings for doublings in range(len(found))]
    assert found[-1] == size


def test_channels_double_downwards_up_to_a_limit() -> None:
    assert channels_at(5, 3, 20) == [20, 20, 12, 6, 3]
