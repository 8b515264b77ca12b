"""Outputs are handed over in turn: what is promised to callers beside others."""

import asyncio

from gantry.v1 import worker_pb2
from services.gateway.call import BatchRun
from services.gateway.outbox import Outbox
from services.gateway.queues import Output

Awaited = list[asyncio.Future[Output]]

OUTPUT = Output(worker_pb2.WorkResult(), "float32", 0.0, BatchRun(0.0, 0.0))


def await_outputs(number: int) -> Awaited:
    return [asyncio.get_running_loop().create_future() for _ in range(number)]


def in_order_of_arrival(awaited: Awaited) -> Awaited:
    arrived: Awaited = []
    for output in awaited:
        output.add_done_callback(arrived.append)
    return arrived


async def test_callers_get_their_outputs_in_turn() -> None:
    outbox, loud, quiet = Outbox(), await_outputs(3), await_outputs(1)
    arrived = in_order_of_arrival(loud + quiet)
    for output in loud:
        outbox.put("loud", {output: OUTPUT})
    outbox.put("quiet", {quiet[0]: OUTPUT})
    await asyncio.gather(*loud, *quiet)
    assert arrived == [loud[0], quiet[0], loud[1], loud[2]]


async def test_outputs_of_one_request_come_together() -> None:
    outbox, (first, second) = Outbox(), await_outputs(2)
    outbox.put("caller", {first: OUTPUT, second: OUTPUT})
    assert await first is OUTPUT
    assert second.done()


async def test_what_has_arrived_gets_its_turn_between_two() -> None:
    outbox, (first, second) = Outbox(), await_outputs(2)
    for output in (first, second):
        outbox.put("caller", {output: OUTPUT})
    await first
    turns = 0
    while not second.done():
        await asyncio.sleep(0)
        turns += 1
    # grpc takes about as many to let one call in.
    assert turns >= 3


async def test_one_that_has_ended_meanwhile_is_left_as_it_is() -> None:
    outbox, (gone, awaited) = Outbox(), await_outputs(2)
    outbox.put("caller", {gone: OUTPUT, awaited: OUTPUT})
    gone.cancel()
    assert await awaited is OUTPUT
    assert gone.cancelled()


async def test_an_outbox_that_was_empty_is_used_again() -> None:
    outbox = Outbox()
    for _ in range(2):
        (output,) = await_outputs(1)
        outbox.put("caller", {output: OUTPUT})
        assert await output is OUTPUT
