"""The client for asyncio gives what the other one gives, against a real gateway."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from PIL import Image

from services.client import Arithmetic, AsyncClient, Axis, Client, GantryError, Interpolation, Sweep, Translation
from services.gateway.errors import QueueFullError, UnknownModelError
from tests.services.client.refusing import ANSWER, Clock, RefusingServicer, SilentServicer, listening

IMAGE = Image.effect_noise((40, 20), 90).convert("RGB")


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


@pytest.fixture
async def async_client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as async_client:
        yield async_client


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> dict[str, list[inspect.Parameter]]:
        public = {name: method for name, method in inspect.getmembers(kind, callable) if name[0] != "_"}
        return {name: list(inspect.signature(method).parameters.values()) for name, method in public.items()}

    asynchronous = calls(AsyncClient)
    del asynchronous["translator"]  # It is for coroutines, of which each waits for the answer to its own picture.
    assert calls(Client) == asynchronous
    assert len(asynchronous) == 12


@pytest.mark.parametrize(
    ("call", "arguments", "options"),
    [
        ("sample", ("tiny",), {"labels": [0, 2], "seed": 4}),
        ("sample_grid", ("tiny-codes",), {"codes": {"slant": 0.5}, "count": 5, "seed": 4, "columns": 2}),
        ("sample", ("tiny-attributes",), {"attributes": {"smile": 0.5}, "seed": 4}),
        ("traverse_grid", ("tiny-attributes", Sweep(x=Axis("age"), seed=1, attributes={"smile": 1})), {}),
        ("traverse_grid", ("tiny", Interpolation(from_seed=1, to_seed=2, from_label=0)), {"gap": 0}),
        ("traverse_animation", ("tiny", Arithmetic(a=[1], b=[2], c=[3], label=0)), {"back_and_forth": True}),
        ("translate", ("tiny-translation", IMAGE), {"to": "zebra", "cycle": True}),
        ("models", (), {}),
        ("refused_archives", (), {}),
        ("model", ("tiny",), {"version": "1.0.0"}),
    ],
)
async def test_same_answers(
    client: Client, async_client: AsyncClient, call: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    answer = getattr(client, call)(*arguments, **options)
    assert answer
    assert await getattr(async_client, call)(*arguments, **options) == answer


@pytest.mark.parametrize(
    ("call", "arguments", "options"),
    [
        ("sample_stream", ("tiny",), {"count": 12, "seed": 4}),
        ("traverse", ("tiny-codes", Sweep(x=Axis("slant"), y=Axis("shape"), seed=1)), {}),
    ],
)
async def test_same_streams(
    client: Client, async_client: AsyncClient, call: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    answers = list(getattr(client, call)(*arguments, **options))
    assert len(answers) > 8
    assert [answer async for answer in getattr(async_client, call)(*arguments, **options)] == answers


async def test_many_translations(client: Client, async_client: AsyncClient) -> None:
    images: list[Any] = [("a", IMAGE), ("bad", b"bad"), *[(index, IMAGE.rotate(index)) for index in range(30)]]
    blocking = dict(client.translate_many("tiny-translation", images, to="horse"))
    results = {name: one async for name, one in async_client.translate_many("tiny-translation", images, to="horse")}
    assert results.keys() == blocking.keys()
    assert isinstance(results["bad"], GantryError)
    good = results.keys() - {"bad"}
    assert {name: results[name] for name in good} == {name: blocking[name] for name in good}


async def test_streams_can_be_left_early(async_client: AsyncClient) -> None:
    samples = async_client.sample_stream("tiny", count=200, seed=2)
    assert (await anext(samples)).seed == 2
    await samples.aclose()
    translations = async_client.translate_many("tiny-translation", [IMAGE] * 50, to="zebra")
    assert isinstance((await anext(translations)).result, Translation)
    await translations.aclose()
    assert await async_client.sample("tiny", seed=2)


async def test_a_refusal_is_raised(async_client: AsyncClient) -> None:
    with pytest.raises(GantryError, match="NOT_FOUND") as caught:
        await async_client.sample("nope")
    assert caught.value.reason == "MODEL_NOT_FOUND"
    with pytest.raises(GantryError) as caught:
        await anext(async_client.sample_stream("tiny", labels=9))
    assert caught.value.field_violations[0].field == "sample.label_ids[0]"


async def test_waits_as_long_as_it_is_told() -> None:
    clock = Clock()

    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)

    with listening(RefusingServicer([QueueFullError("full", 0.25), QueueFullError("full", 0.5)])) as address:
        async with AsyncClient(address, clock=clock, sleep=sleep) as client:
            (image,) = await client.sample("m")
    assert image.seed == ANSWER.seed
    assert clock.slept == [0.25, 0.5]


async def test_what_no_retry_can_help_is_not_tried_again() -> None:
    servicer = RefusingServicer([UnknownModelError("no m")])
    with listening(servicer) as address:
        async with AsyncClient(address) as client:
            with pytest.raises(GantryError, match="NOT_FOUND: no m"):
                await anext(client.sample_stream("m"))
    assert servicer.calls == 1


async def test_the_deadline_ends_calls_that_get_no_answer() -> None:
    servicer = SilentServicer()
    with listening(servicer) as address:
        async with AsyncClient(address, timeout=0.05) as client:
            with pytest.raises(GantryError, match="DEADLINE_EXCEEDED"):
                await client.sample("m")
            with pytest.raises(GantryError, match=r"DEADLINE_EXCEEDED: no answer within 0\.05 s"):
                await client.translate("m", IMAGE)
        servicer.released.set()
