"""Rolling restarts of two gateways, behind one connection of a stock gRPC client that balances and retries."""

import asyncio
import json
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field

from benchmarks.faults.case import Case, Finding, at_most, beside
from benchmarks.faults.questions import Tally, keep_asking, sample, sample_stream, translate
from benchmarks.faults.scene import Gateway, Scene, connection
from services.client.local_gateway import free_port

CALLERS, SECONDS = 4, 60.0
DRAIN_SECONDS, END_SECONDS = 20.0, 3.0
_SAMPLED, _TRANSLATED, _SIDE = "mnist-cgan", "horse2zebra", 64
# The gateway that starts shares the cores with the one that serves.
_PAUSE_SECONDS = 0.05
# By then a client has connected again.
_SETTLE_SECONDS = 3.0
_QUESTIONS = [
    *(sample(_SAMPLED, seed) for seed in range(12)),
    *(sample_stream(_SAMPLED, seed, 16) for seed in range(4)),
    *(translate(_TRANSLATED, seed, _SIDE) for seed in range(4)),
]
# As docs/operations.md has it.
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "gantry.v1.GenerationService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}
_OPTIONS = [("grpc.service_config", json.dumps(_SERVICE_CONFIG)), ("grpc.max_reconnect_backoff_ms", 1000)]


@dataclass
class _Place:
    """A port at which one gateway after the other listens.

    Attributes:
        scene: Where the gateways run.
        port: The port.
        ends: Exit code and seconds from SIGTERM to the end, of each that was restarted.
    """

    scene: Scene
    port: int = field(default_factory=free_port)
    ends: list[tuple[int, float]] = field(default_factory=list)
    _running: ExitStack = field(default_factory=ExitStack)
    _gateway: Gateway | None = None

    async def start(self) -> None:
        """Start a gateway, and wait until it serves."""
        gateway = self.scene.gateway(_SAMPLED, _TRANSLATED, port=self.port, drain_seconds=DRAIN_SECONDS)
        self._gateway = await asyncio.to_thread(self._running.enter_context, gateway)

    async def restart(self) -> None:
        """Ask the gateway to end, and start another when it has."""
        assert self._gateway
        begun = time.perf_counter()
        self._gateway.process.terminate()
        code = await asyncio.to_thread(self._gateway.process.wait)
        self.ends.append((code, time.perf_counter() - begun))
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """End the gateway, where there is one."""
        await asyncio.to_thread(self._running.close)


async def _gateway(scene: Scene) -> list[Finding]:
    places, tally = [_Place(scene), _Place(scene)], Tally()
    async with AsyncExitStack() as open_:
        for place in places:
            open_.push_async_callback(place.stop)
            await place.start()
        address = "ipv4:" + ",".join(f"127.0.0.1:{place.port}" for place in places)
        channel = await open_.enter_async_context(connection(address, *_OPTIONS))
        await tally.learn(channel, _QUESTIONS)
        over = asyncio.Event()
        load = [
            asyncio.create_task(
                keep_asking(channel, _QUESTIONS, tally, SECONDS, over, seed=number, pause=_PAUSE_SECONDS)
            )
            for number in range(CALLERS)
        ]
        for place in places * scene.pick(10, 1):
            await asyncio.sleep(_SETTLE_SECONDS)
            await place.restart()
        await asyncio.sleep(_SETTLE_SECONDS)
        over.set()
        await asyncio.gather(*load)
    return _findings(tally, [end for place in places for end in place.ends])


def _findings(tally: Tally, ends: list[tuple[int, float]]) -> list[Finding]:
    lost = ", ".join(f"{count} × {why}" for why, count in (tally.lost + tally.refused).items())
    longest = max(seconds for _, seconds in ends)
    return [
        beside("restarts", len(ends)),
        beside("calls", tally.calls),
        Finding("lost: calls with any other end than OK", lost or "0", "0", met=not lost),
        at_most("calls that brought other pictures than alone", tally.wrong, 0),
        at_most("the longest from SIGTERM to the end", longest, DRAIN_SECONDS + END_SECONDS, "{:.1f} s"),
        at_most("gateways that ended with another code than 0", sum(code != 0 for code, _ in ends), 0),
    ]


CASE = Case(
    "restarts",
    "Rolling restarts",
    "Two gateways at fixed addresses are stopped with SIGTERM and started again in turn, each ten times, while "
    f"{CALLERS} callers sample, stream and translate over one connection of a stock client: round_robin over both "
    "addresses, and gRPC's own retries (four attempts, of UNAVAILABLE).",
    _gateway,
)
