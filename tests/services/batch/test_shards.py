"""Shards: every item is in exactly one, whoever asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.batch.shards import Shard


@given(st.lists(st.text(), max_size=30), st.integers(1, 40))
def test_shards_are_disjoint_and_together_everything(names: list[str], count: int) -> None:
    owners = [[shard for shard in range(count) if Shard(shard, count).owns(name)] for name in names]
    assert all(len(owner) == 1 for owner in owners)


def test_shards_are_about_the_same_size() -> None:
    sizes = [sum(Shard(index, 4).owns(f"folder/{n}.jpg") for n in range(4000)) for index in range(4)]
    assert sum(sizes) == 4000
    assert all(900 < size < 1100 for size in sizes)


def test_the_hash_is_stable() -> None:
    assert [Shard(2, 4).owns(name) for name in ("a.jpg", "b.jpg", "c.jpg", "sub/d.jpg")] == [True, True, False, True]


@pytest.mark.parametrize(("text", "shard"), [("0/1", Shard(0, 1)), ("3/4", Shard(3, 4))])
def test_a_shard_is_written_as_part_of_whole(text: str, shard: Shard) -> None:
    assert Shard.parse(text) == shard


@pytest.mark.parametrize("text", ["", "1", "1/1", "-1/2", "2/2", "a/b", "0/0", "1/2/3"])
def test_no_other_text_is_a_shard(text: str) -> None:
    with pytest.raises(ValueError, match="must be i/n"):
        Shard.parse(text)


def test_an_indexed_job_s_pod_knows_its_shard() -> None:
    assert Shard.from_environment({"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "5"}) == Shard(2, 5)
    assert Shard.from_environment({}) == Shard(0, 1)


@pytest.mark.parametrize("environment", [{"JOB_COMPLETION_INDEX": "2"}, {"JOB_COMPLETIONS": "2"}])
def test_half_of_a_pod_s_shard_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="set both or neither"):
        Shard.from_environment(environment)
