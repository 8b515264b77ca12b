"""Frames and tiles put together: one grid, or one animated WEBP. Slow enough to run off the event loop."""

import asyncio
import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image

from gantry.v1.generation_pb2 import IMAGE_FORMAT_WEBP, EncodedImage
from services.gateway.planning.output import GridPlan
from services.gateway.planning.traverse import AnimationPlan
from services.worker.imaging import Pixels, encode, tile

Made = TypeVar("Made")

# Threads of its own: what is planned, and a backend that is looked after, do not wait behind hundreds of animations.
_THREADS = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="gantry-assembly")


async def in_a_thread(assemble: Callable[..., Made], *arguments: object) -> Made:
    """Run what assembles or encodes off the event loop; what it returns or raises."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, assemble, *arguments)


def pixels_of(raw: EncodedImage) -> Pixels:
    """View a raw picture as uint8 [height, width, channels]."""
    return np.frombuffer(raw.data, np.uint8).reshape(raw.height, raw.width, raw.channels)


def cut_grid(tiles: Sequence[Pixels], plan: GridPlan, text: Mapping[str, str]) -> EncodedImage:
    """Lay pictures out as one.

    Args:
        tiles: At least one, all of one shape.
        plan: The layout.
        text: What a PNG tells of itself.

    Returns:
        The grid.
    """
    return encode(tile(tiles, plan.columns, plan.gap), plan.encoding.format, plan.encoding.quality, text)


def animate(frames: Sequence[Pixels], plan: AnimationPlan) -> EncodedImage:
    """Lay frames out in time, as an endless lossless WEBP.

    Args:
        frames: At least one, all of one shape.
        plan: The layout.

    Returns:
        The animation.
    """
    height, width, channels = frames[0].shape
    # The way back leaves out both ends: the last frame has just been shown, and the first comes next.
    back = frames[-2:0:-1] if plan.back_and_forth else []
    first, *rest = (Image.fromarray(frame[:, :, 0] if channels == 1 else frame) for frame in (*frames, *back))
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=plan.frame_milliseconds,
        loop=0,
        lossless=True,
    )
    return EncodedImage(data=buffer.getvalue(), width=width, height=height, channels=channels, format=IMAGE_FORMAT_WEBP)
