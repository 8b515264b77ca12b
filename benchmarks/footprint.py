"""What a gateway that serves all shipped models takes in memory."""

import asyncio
import tempfile
from pathlib import Path

from benchmarks.faults.callers import noise
from benchmarks.faults.scene import Scene
from services.client import AsyncClient

MODELS, WORKERS = ("mnist-cgan", "fashion-cgan", "mnist-infogan", "horse2zebra"), 2
_CALLS, _SIDE = 8, 256


def measure_footprint(model_store: Path) -> float:
    """Serve all shipped models, let each be called several times at once, and add up what all processes hold.

    Args:
        model_store: Folder of the shipped archives.

    Returns:
        MiB; pages that processes share are counted once (PSS).
    """
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as folder:
        scene = Scene("embedded", Path(folder), model_store, short=False)
        with scene.gateway(*MODELS, workers=WORKERS) as gateway:
            asyncio.run(_call_all(gateway.address))
            return gateway.resident_bytes() / 2**20


async def _call_all(address: str) -> None:
    async with AsyncClient(address) as client:
        translated = [client.translate("horse2zebra", noise(_SIDE), direction="a_to_b") for _ in range(_CALLS)]
        await asyncio.gather(*(client.sample(model, count=_CALLS) for model in MODELS[:3]), *translated)
