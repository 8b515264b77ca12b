"""How a gateway stops, as its callers see it: over real gRPC, with a backend whose envelopes the test holds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gantry.v1 import generation_pb2, generation_pb2_grpc
from services.gateway.errors import ShuttingDownError
from services.gateway.interceptors.drain import Drain, Moment
from services.gateway.server import Gateway
from services.gateway.settings import Settings
from services.gateway.telemetry.metrics import Metrics
from tests.conformance.harness import details_of
from tests.pictures import picture
from tests.services.gateway.cards import tiny_card, translation_card
from tests.services.gateway.fakes import Clock, DrivenBackend, settled, until

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
TINY = generation_pb2.SampleRequest(model="tiny")


class Bench:
    """A gateway, a caller, and the task in which the gateway stops."""

    def __init__(self, gateway: Gateway, backend: DrivenBackend) -> None:
        self.gateway, self.backend = gateway, backend
        self.channel = self.connect()
        self.stub = generation_pb2_grpc.GenerationServiceStub(self.channel)
        self.stopping: asyncio.Task[None] | None = None

    def connect(self) -> grpc.aio.Channel:
        """Open a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.gateway.port}", options)

    async def stop(self) -> asyncio.Task[None]:
        """Let the gateway begin to stop."""
        self.stopping = asyncio.create_task(self.gateway.__aexit__(None, None, None))
        await settled()
        return self.stopping

    def value(self, name: str, **labels: str) -> float | None:
        """Read a metric."""
        return self.gateway.metrics.registry.get_sample_value(name, labels)


MakeBench = Callable[[float], Awaitable[Bench]]


@pytest_asyncio.fixture
async def make_bench(settings: Settings) -> AsyncIterator[MakeBench]:
    benches = []

    async def make(drain_seconds: float) -> Bench:
        backend = DrivenBackend(tiny_card(), translation_card())
        gateway = Gateway(settings.model_copy(update={"drain_seconds": drain_seconds}), backend)
        benches.append(Bench(await gateway.__aenter__(), backend))
        return benches[-1]

    yield make
    for bench in benches:
        bench.gateway.hurry()
        await (bench.stopping or bench.gateway.__aexit__(None, None, None))
        await bench.channel.close()


@pytest_asyncio.fixture
async def bench(make_bench: MakeBench) -> Bench:
    return await make_bench(60)


@pytest_asyncio.fixture
async def hasty(make_bench: MakeBench) -> Bench:
    """Without any grace."""
    return await make_bench(0)


def assert_says_to_retry(error: grpc.aio.AioRpcError) -> None:
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    details = details_of(error)
    assert details["ErrorInfo"].reason == "SHUTTING_DOWN"
    assert details["RetryInfo"].retry_delay.seconds == 1


async def test_new_calls_are_refused_on_old_and_new_connections_and_admitted_ones_finish(bench: Bench) -> None:
    admitted = asyncio.ensure_future(bench.stub.Sample(TINY))
    envelope = await bench.backend.away.get()
    stopping = await bench.stop()
    async with bench.connect() as other:
        for stub in (bench.stub, generation_pb2_grpc.GenerationServiceStub(other)):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.Sample(TINY)
            assert_says_to_retry(error.value)
    assert bench.value("gantry_draining") == 1
    assert bench.value("gantry_refusals_total", grpc_method="Sample", reason="SHUTTING_DOWN") == 2
    assert not admitted.done()
    envelope.come_back()
    assert len((await admitted).images) == 1
    await stopping


async def test_health_says_so_and_its_streams_end_well_without_holding_up_the_end(bench: Bench) -> None:
    admitted = asyncio.ensure_future(bench.stub.Sample(TINY))
    envelope = await bench.backend.away.get()
    health = health_pb2_grpc.HealthStub(bench.channel)
    request = health_pb2.HealthCheckRequest(service="gantry.v1.GenerationService")
    watching = health.Watch(request)
    assert (await watching.read()).status == SERVING
    asking = reflection_pb2_grpc.ServerReflectionStub(bench.channel).ServerReflectionInfo()
    await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    assert (await asking.read()).list_services_response.service

    stopping = await bench.stop()
    assert (await watching.read()).status == NOT_SERVING
    assert (await health.Check(request)).status == NOT_SERVING
    assert not stopping.done()
    envelope.come_back()
    await admitted
    await stopping
    assert await watching.read() is grpc.aio.EOF
    assert await watching.code() == grpc.StatusCode.OK
    assert await asking.code() == grpc.StatusCode.OK


async def test_an_open_translate_stream_answers_what_it_took_and_says_to_retry(bench: Bench) -> None:
    request = generation_pb2.TranslateRequest(model="horse2zebra", source_domain="horse", image=picture())
    stream = bench.stub.TranslateStream()
    await stream.write(generation_pb2.TranslateStreamRequest(id="a", translate=request))
    envelope = await bench.backend.away.get()
    stopping = await bench.stop()
    await stream.write(generation_pb2.TranslateStreamRequest(id="b", translate=request))
    envelope.come_back()
    answer = await stream.read()
    assert (answer.id, answer.WhichOneof("part")) == ("a", "result")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stream.read()
    assert_says_to_retry(error.value)
    await stopping
    assert len(bench.backend.envelopes) == 1


async def test_calls_beyond_the_grace_end_with_a_status(hasty: Bench) -> None:
    sample = asyncio.ensure_future(hasty.stub.Sample(TINY))
    await hasty.backend.away.get()
    stream = hasty.stub.SampleStream(generation_pb2.SampleStreamRequest(sample=TINY))
    await hasty.backend.away.get()
    await hasty.stop()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await sample
    assert_says_to_retry(error.value)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stream.read()
    assert_says_to_retry(error.value)


async def test_a_caller_who_reads_nothing_does_not_hold_up_the_end(hasty: Bench) -> None:
    hasty.backend.picture_bytes = 1 << 20
    hasty.backend.answers_at_once = True
    request = generation_pb2.SampleStreamRequest(sample=generation_pb2.SampleRequest(model="tiny", count=64))
    stream = hasty.stub.SampleStream(request)
    await stream.read()
    await (await hasty.stop())
    await until(lambda: hasty.value("gantry_calls_in_flight", grpc_method="SampleStream") == 0)


async def test_who_is_in_a_hurry_does_not_wait_for_the_grace(bench: Bench) -> None:
    call = asyncio.ensure_future(bench.stub.Sample(TINY))
    await bench.backend.away.get()
    await bench.stop()
    assert not call.done()
    bench.gateway.hurry()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    assert_says_to_retry(error.value)


class Refused:
    """The context of a call that is refused."""

    def code(self) -> int:
        return 0

    async def abort(self, *_: object, **__: object) -> None:
        raise grpc.aio.AbortError


@pytest.mark.parametrize(
    ("grace", "arrivals", "waited"),
    [
        pytest.param(60, 0, 0.1, id="as long as it takes to be sure"),
        pytest.param(60, 3, 0.1 + 3 * 0.06, id="longer while callers come"),
        pytest.param(60, 1000, 0.5, id="not for ever"),
        pytest.param(0.3, 1000, 0.3, id="not beyond the grace"),
    ],
)
async def test_the_end_comes_when_no_call_has_arrived_for_a_while(grace: float, arrivals: int, waited: float) -> None:
    """Another caller comes whenever 0.06 seconds have passed."""
    clock, left = Clock(), arrivals

    async def arrive() -> None:
        with pytest.raises(grpc.aio.AbortError):
            await handler.unary_unary(b"", Refused())

    async def pause(seconds: float) -> None:
        nonlocal left
        clock.now += min(seconds, 0.06) if left else seconds
        if left:
            left -= 1
            await arrive()

    drain = Drain(Metrics(), clock, pause)
    handler = drain.wrapped(grpc.unary_unary_rpc_method_handler(arrive), "/package.Service/Method")
    drain.begin()
    await arrive()
    began = clock.now
    await drain.finish(grace)
    assert clock.now - began == pytest.approx(waited)


async def test_a_moment_ends_blocks_that_run_and_blocks_that_begin_later() -> None:
    moment, reached = Moment(), []

    async def block() -> None:
        async with moment.ends():
            reached.append("begun")
            await asyncio.Future()

    running = asyncio.create_task(block())
    await settled()
    moment.come()
    moment.come()
    with pytest.raises(ShuttingDownError):
        await running
    with pytest.raises(ShuttingDownError):
        await block()
    assert reached == ["begun", "begun"]


async def test_a_moment_leaves_alone_what_has_ended_and_whatever_else_ends_a_block() -> None:
    moment = Moment()
    async with moment.ends():
        pass
    with pytest.raises(TimeoutError):
        async with moment.ends():
            raise TimeoutError
    cancelled = asyncio.create_task(_forever(moment))
    await settled()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    moment.come()
    await settled()


async def _forever(moment: Moment) -> None:
    async with moment.ends():
        await asyncio.Future()
