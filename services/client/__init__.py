"""A typed Python client, for code that blocks and for asyncio. Needs neither torch nor knowledge of gRPC.

Example:
    >>> with Client("localhost:50051") as client:
    ...     for sampled in client.sample("mnist-cgan", labels=[3, 7], seed=1):
    ...         sampled.image.show()
"""

from services.client.async_client import AsyncClient
from services.client.client import Client
from services.client.credentials import Credentials
from services.client.errors import FieldViolation, GantryError
from services.client.exchange import Translated
from services.client.images import ImageLike
from services.client.paths import Arithmetic, Attributes, Axis, Codes, Interpolation, Label, Sweep
from services.client.pictures import (
    Coordinate,
    Direction,
    Format,
    Frame,
    Origin,
    Picture,
    Provenance,
    SampledGrid,
    SampledImage,
    Translation,
    Traversal,
)
from services.client.requests import Labels, SampleOptions, TranslateOptions, TraverseOptions

__all__ = [
    "Arithmetic",
    "AsyncClient",
    "Attributes",
    "Axis",
    "Client",
    "Codes",
    "Coordinate",
    "Credentials",
    "Direction",
    "FieldViolation",
    "Format",
    "Frame",
    "GantryError",
    "ImageLike",
    "Interpolation",
    "Label",
    "Labels",
    "Maker",
    "Origin",
    "Picture",
    "Provenance",
    "SampleOptions",
    "SampledGrid",
    "SampledImage",
    "Sweep",
    "TranslateOptions",
    "Translated",
    "Translation",
    "Traversal",
    "TraverseOptions",
]

Maker = Provenance
"""The former name of `Provenance`."""
