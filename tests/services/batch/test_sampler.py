"""Pictures of a data set through a real gateway: those that an online Sample gives, in as few calls as can be."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.batch.calling import JobCalls
from services.batch.faults import ItemError, JobError, StoppedError
from services.batch.items import Item
from services.batch.job import Ending, Job, OutputFile, Tally
from services.batch.manifest import load_shard, open_manifest
from services.batch.sample import SampleRequest, SettledSample, settle
from services.batch.sample_plan import CALL_PICTURES
from services.batch.sampler import PictureSampler
from services.batch.shards import Shard
from services.batch.storage import open_store
from services.batch.window import Window
from services.client import AsyncClient, Client, GantryError, SampledImage


async def settled_by(client: AsyncClient, request: SampleRequest) -> SettledSample:
    return settle(request, await client.model(request.model, request.version))


async def make(address: str, out: Path, request: SampleRequest, shard: Shard = Shard()) -> tuple[Ending, Tally]:  # noqa: B008
    store = open_store(str(out))
    async with AsyncClient(address, attempts=1) as client:
        settled = await settled_by(client, request)
        manifest = open_manifest(store, shard)
        try:
            async with PictureSampler(client, JobCalls(Window(4)), settled, calls=4) as sampler:
                job = Job(sampler.items(shard), sampler.make, settled.provenance, store, manifest, width=128)
                return await job.run(), job.tally
        finally:
            manifest.close()


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.glob("images/*/*")}


async def test_every_picture_is_that_of_an_online_sample(address: str, tmp_path: Path) -> None:
    request = SampleRequest(model="tiny", count=100, seed=7, truncation=0.5, format="webp", quality=80)
    ending, tally = await make(address, tmp_path, request)
    assert (ending, tally.done, tally.failed) == ("finished", 100, 0)
    found = files(tmp_path)
    assert len(found) == 100
    with closing(load_shard(open_store(str(tmp_path)), Shard())) as index, Client(address) as client:
        for record in index.records("done"):
            assert record.facts is not None
            (online,) = client.sample(
                "tiny",
                labels=record.facts["label"],
                seed=record.facts["seed"],
                truncation=0.5,
                format="webp",
                quality=80,
            )
            assert record.output is not None
            assert found[record.output] == online.data
            assert record.facts["class"] == online.label_name
            assert record.digest == online.digest


async def test_codes_are_balanced_and_the_others_drawn(address: str, tmp_path: Path) -> None:
    request = SampleRequest(model="tiny-codes", count=30, codes=("slant=0.25",))
    assert (await make(address, tmp_path, request))[1].done == 30
    with closing(load_shard(open_store(str(tmp_path)), Shard())) as index, Client(address) as client:
        facts = [record.facts or {} for record in index.records()]
        assert sorted(fact["codes"]["k1"] for fact in facts) == [0] * 10 + [1] * 10 + [2] * 10
        assert {fact["codes"]["c1"] for fact in facts} == {0.25}
        assert len({fact["codes"]["c2"] for fact in facts}) == 30
        record = next(index.records())
        assert record.facts is not None
        (online,) = client.sample("tiny-codes", codes=record.facts["codes"], seed=record.facts["seed"])
        assert (tmp_path / str(record.output)).read_bytes() == online.data


async def test_a_request_of_before_attributes_is_the_same_without_any() -> None:
    request = SampleRequest(model="tiny", count=9)
    written = {name: value for name, value in request.to_json().items() if name != "attributes"}
    assert SampleRequest.from_json(written) == request


async def test_shards_and_repeats_make_the_same_set(address: str, tmp_path: Path) -> None:
    request = SampleRequest(model="tiny", count=200)
    await make(address, tmp_path / "one", request)
    for index in (2, 0, 1):
        await make(address, tmp_path / "three", request, Shard(index, 3))
    assert files(tmp_path / "three") == files(tmp_path / "one")
    _, tally = await make(address, tmp_path / "one", request)
    assert (tally.done, tally.skipped) == (0, 200)
    _, tally = await make(address, tmp_path / "one", SampleRequest(model="tiny", count=230))
    assert (tally.done, tally.skipped) == (30, 200)


class Calls:
    """Stands between a sampler and its client: counts what is asked for, and fails calls as it is told."""

    def __init__(self, client: AsyncClient, fail: Callable[[int, int], Exception | None] = lambda *_: None) -> None:
        self.sizes: list[int] = []
        self._client, self._fail = client, fail

    async def sample_stream(self, model: str, **options: Any) -> Any:
        self.sizes.append(options["count"])
        number = len(self.sizes) - 1
        place = 0
        async for picture in self._client.sample_stream(model, **options):
            if (error := self._fail(number, place)) is not None:
                raise error
            place += 1
            yield picture


async def ask_for_all(
    address: str,
    request: SampleRequest,
    fail: Callable[[int, int], Exception | None] = lambda *_: None,
    calls: int = 1,
    now: float = 0.0,
) -> tuple[list[Item], list[OutputFile | BaseException], list[int]]:
    """Ask for all items of a set at once."""
    async with AsyncClient(address, attempts=1) as client:
        settled = await settled_by(client, request)
        counted = Calls(client, fail)

        async def no_sleep(_: float) -> None:
            nonlocal now
            now += 1.0

        caller = JobCalls(Window(calls, clock=lambda: now, sleep=no_sleep), clock=lambda: now)
        async with PictureSampler(counted, caller, settled, calls=calls) as sampler:  # type: ignore[arg-type]
            items = list(sampler.items(Shard()))
            made = await asyncio.gather(*(sampler.make(item, None) for item in items), return_exceptions=True)
            return items, made, counted.sizes


def data_of(results: list[OutputFile | BaseException]) -> list[bytes]:
    return [result.data for result in results if isinstance(result, OutputFile)]


async def test_what_is_asked_for_at_once_shares_calls(address: str) -> None:
    _, made, sizes = await ask_for_all(address, SampleRequest(model="tiny", count=6 * CALL_PICTURES))
    assert len(data_of(made)) == 6 * CALL_PICTURES
    assert sizes == [CALL_PICTURES] * 6


async def test_a_stream_that_breaks_goes_on_where_it_broke(address: str) -> None:
    request = SampleRequest(model="tiny", count=30)
    _, sound, _ = await ask_for_all(address, request)
    gone = GantryError(grpc.StatusCode.UNAVAILABLE, "gone")
    _, made, sizes = await ask_for_all(address, request, lambda call, place: gone if (call, place) == (0, 4) else None)
    assert data_of(made) == data_of(sound)
    assert sizes == [10, 6, 10, 10]


async def test_overload_fails_nothing(address: str) -> None:
    full = GantryError(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", reason="QUEUE_FULL", retry_seconds=0.5)
    _, made, sizes = await ask_for_all(
        address, SampleRequest(model="tiny", count=30), lambda call, _: full if call < 5 else None, calls=2
    )
    assert len(data_of(made)) == 30
    assert len(sizes) == 8


async def test_a_fault_is_that_of_the_first_that_did_not_come(address: str) -> None:
    fault = GantryError(grpc.StatusCode.INTERNAL, "could not be made", reason="MODEL_FAILED")
    items, made, _ = await ask_for_all(
        address, SampleRequest(model="tiny", count=30), lambda call, place: fault if (call, place) == (0, 3) else None
    )
    failed = [(item, result) for item, result in zip(items, made, strict=True) if isinstance(result, BaseException)]
    assert len(data_of(made)) == 29
    ((item, error),) = failed
    assert item.output == "images/circle/00000003.png"
    assert isinstance(error, ItemError)
    assert (error.reason, error.message) == ("MODEL_FAILED", "could not be made")


async def test_what_no_picture_can_have_ends_the_job(address: str) -> None:
    _, made, sizes = await ask_for_all(address, SampleRequest(model="tiny", count=30, truncation=2.0))
    assert {type(result) for result in made} == {JobError}
    assert "the gateway refuses the job: INVALID_ARGUMENT: " in str(made[0])
    assert "truncation" in str(made[0])
    assert sizes == [10]


async def test_a_gateway_that_is_gone_for_too_long_ends_the_job(address: str) -> None:
    gone = GantryError(grpc.StatusCode.UNAVAILABLE, "gone")
    _, made, _ = await ask_for_all(address, SampleRequest(model="tiny", count=6), lambda *_: gone)
    assert {type(result) for result in made} == {JobError}
    assert "the gateway has not answered for 30" in str(made[0])


async def test_another_archive_ends_the_job(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = SampledImage.from_message

    def of_another(message: Any) -> SampledImage:
        message.digest = "0" * 64
        return real(message)

    monkeypatch.setattr(SampledImage, "from_message", of_another)
    _, made, _ = await ask_for_all(address, SampleRequest(model="tiny", count=6))
    assert {str(result) for result in made} == {"model tiny was replaced while the job ran; start it again"}


async def test_nobody_waits_for_a_job_that_stops(address: str) -> None:
    async with AsyncClient(address, attempts=1) as client:
        settled = await settled_by(client, SampleRequest(model="tiny", count=9))
        caller = JobCalls(Window(1))
        caller.stop()
        async with PictureSampler(client, caller, settled, calls=1) as sampler:
            made = await asyncio.gather(
                *(sampler.make(item, None) for item in sampler.items(Shard())), return_exceptions=True
            )
    assert {type(result) for result in made} == {StoppedError}


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (SampleRequest(model="tiny", count=9, codes=("slant",)), "--code slant: must be NAME=VALUE"),
        (SampleRequest(model="tiny", count=9, labels=("dog",)), "--label: model tiny has no class 'dog'"),
        (SampleRequest(model="tiny-translation", count=9), "gantry batch translate runs it"),
    ],
)
async def test_what_the_card_does_not_know_is_a_fault_of_the_job(
    address: str, request_: SampleRequest, told: str
) -> None:
    async with AsyncClient(address) as client:
        with pytest.raises(JobError, match=told):
            await settled_by(client, request_)


def test_a_request_survives_its_file() -> None:
    request = SampleRequest(
        model="tiny", count=9, labels=("square",), codes=("a=1",), attributes=("b=2",), quality=3, format="jpeg"
    )
    assert SampleRequest.from_json(request.to_json()) == request
