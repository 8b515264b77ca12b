"""A gateway of several is stopped: a caller who translates many pictures goes on at another, and no picture is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.client import Client, Translation
from services.gateway.server import make_backend
from services.gateway.settings import Settings
from tests.conformance.harness import EventLoop, Served, serving
from tests.pictures import picture

PICTURES = 60


@pytest.fixture
def pair(loop: EventLoop, store: Path) -> Iterator[tuple[Served, Served]]:
    settings = Settings(model_store=store, execution="float32", port=0, metrics_port=0, probe_seconds=3600)
    with (
        serving(loop, settings, make_backend(settings)) as first,
        serving(loop, settings, make_backend(settings)) as second,
    ):
        yield first, second


def images_made(served: Served) -> float:
    labels = {"model": "horse2zebra", "kind": "translation"}
    return served.gateway.metrics.registry.get_sample_value("gantry_images_total", labels) or 0.0


def test_a_caller_goes_on_at_another_gateway_and_gets_every_picture_once(
    loop: EventLoop, pair: tuple[Served, Served]
) -> None:
    images = {f"{seed}": picture(64, 48, seed=seed) for seed in range(PICTURES)}
    address = "ipv4:" + ",".join(f"127.0.0.1:{served.gateway.port}" for served in pair)
    results = {}
    with Client(address, timeout=60) as client:
        for place, (name, result) in enumerate(client.translate_many("horse2zebra", images.items(), to="zebra")):
            assert isinstance(result, Translation), result
            assert name not in results
            results[name] = result.data
            if place == 4:
                # Whichever the caller has connected to.
                stopped, _ = sorted(pair, key=images_made, reverse=True)
                loop.run(stopped.gateway.__aexit__())
        alone = {name: client.translate("horse2zebra", images[name], to="zebra").data for name in images}
    assert results == alone
    assert images_made(stopped) >= 5
    # Those that were sent again were not made before, and the comparison made each once more.
    assert sum(map(images_made, pair)) == 2 * PICTURES
