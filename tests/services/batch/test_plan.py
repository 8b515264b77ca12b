"""The plan: outputs of items, shards, and what is refused before anything is made."""

from pathlib import Path

import pytest

from services.batch.faults import JobError
from services.batch.inputs import open_input
from services.batch.plan import Plan, make_plan
from services.batch.shards import Shard
from services.client.pictures import Format


def plan_of(out: Path, *inputs: Path | str, shard: Shard | None = None, image_format: Format = "png") -> Plan:
    return make_plan([open_input(str(one)) for one in inputs], str(out), shard or Shard(), image_format)


def outputs_of(plan: Plan) -> list[str | None]:
    return sorted((item.output for item in plan), key=str)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ("a.jpg", "sub/b.png", "sub/c.jpeg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    return tmp_path / "in"


def test_outputs_keep_their_names_but_for_the_ending(pictures: Path, tmp_path: Path) -> None:
    assert outputs_of(plan_of(tmp_path / "out", pictures)) == ["a.png", "sub/b.png", "sub/c.png"]
    assert outputs_of(plan_of(tmp_path / "out", pictures, image_format="jpeg")) == ["a.jpg", "sub/b.jpeg", "sub/c.jpeg"]


def test_inputs_beside_each_other_are_one_job(pictures: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "out", pictures / "a.jpg", pictures / "sub")
    assert outputs_of(plan) == ["a.png", "b.png", "c.png"]
    assert next(item.source for item in plan) == 0
    assert len(plan) == 3


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_share_out_all_items(tmp_path: Path, count: int) -> None:
    (tmp_path / "list").write_text("".join(f"/in/{n}.jpg\n" for n in range(200)))
    plans = [plan_of(tmp_path / "out", f"@{tmp_path}/list", shard=Shard(index, count)) for index in range(count)]
    outputs = [output for plan in plans for output in outputs_of(plan)]
    assert len(outputs) == len(set(outputs)) == 200


def test_two_pictures_for_one_output_are_refused(pictures: Path, tmp_path: Path) -> None:
    (pictures / "a.png").write_bytes(b"")
    for shard in (Shard(), Shard(0, 2), Shard(1, 2)):
        with pytest.raises(JobError, match=r"two pictures would become a\.png"):
            plan_of(tmp_path / "out", pictures, shard=shard)


@pytest.mark.parametrize("spelling", ["./x/1.png", "x//1.png", "x/./1.png"])
def test_two_spellings_of_one_output_are_one(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "list").write_text(
        f'{{"input": "/a.jpg", "output": "x/1.png"}}\n{{"input": "/b.jpg", "output": "{spelling}"}}\n'
    )
    with pytest.raises(JobError, match=r"two pictures would become x/1\.png"):
        plan_of(tmp_path / "out", f"@{tmp_path}/list")


def test_a_list_can_tell_them_apart(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f'{{"input": "{pictures}/a.jpg", "output": "1.png"}}\n{pictures}/a.jpg\n')
    assert len(plan_of(tmp_path / "out", f"@{tmp_path}/list")) == 2


def test_an_output_among_the_inputs_is_refused(pictures: Path, tmp_path: Path) -> None:
    for out in (pictures, pictures / "out"):
        with pytest.raises(JobError, match="outputs would become inputs"):
            plan_of(out, pictures)
    with pytest.raises(JobError, match=r"b\.png would be replaced"):
        plan_of(pictures / "sub", pictures / "sub/b.png")


def test_no_pictures_are_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(JobError, match="no pictures"):
        plan_of(tmp_path / "out", tmp_path / "in")


def test_a_shard_may_be_empty(pictures: Path, tmp_path: Path) -> None:
    sizes = [len(plan_of(tmp_path / "out", pictures / "a.jpg", shard=Shard(index, 4))) for index in range(4)]
    assert sorted(sizes) == [0, 0, 0, 1]


def test_an_output_among_the_inputs_is_refused_behind_a_link_too(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pictures)
    with pytest.raises(JobError, match="would become inputs"):
        plan_of(tmp_path / "link", pictures)
    with pytest.raises(JobError, match="would become inputs"):
        plan_of(pictures / "out", tmp_path / "link")
