"""A typed Python client. Needs neither torch nor knowledge of gRPC.

Example:
    >>> with Client("localhost:50051") as client:
    ...     for sampled in client.sample("mnist-cgan", labels=[3, 7], seed=1):
    ...         sampled.image.show()
"""

from services.client.client import Client
from services.client.errors import FieldViolation, GantryError
from services.client.pictures import Format, Origin, Picture, SampledGrid, SampledImage
from services.client.requests import Labels, SampleOptions

__all__ = [
    "Client",
    "FieldViolation",
    "Format",
    "GantryError",
    "Labels",
    "Origin",
    "Picture",
    "SampleOptions",
    "SampledGrid",
    "SampledImage",
]
