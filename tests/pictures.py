"""Image files for tests, drawn on the spot."""

import io
from typing import Any

import numpy as np
from PIL import Image


def picture(width: int = 20, height: int = 16, image_format: str = "PNG", seed: int = 0, **options: Any) -> bytes:
    """An RGB file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()
