"""What a sampling job is to make: a user's request, as the card of the model reads it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from gantry.v1 import models_pb2
from services.batch.faults import JobError
from services.batch.job import JobProvenance
from services.batch.sample_plan import DataSet, plan_data_set
from services.client import SampleOptions
from services.client.arguments import read_attributes, read_codes

FileFormat = Literal["png", "jpeg", "webp"]
"""What the files of a data set are encoded as."""


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """What a job asks for.

    Attributes:
        model: Name of the model.
        version: Its version; None for the newest.
        count: Number of pictures.
        seed: Of picture 0 of class 0, 0 to 2^64 - 1.
        labels: Classes by name or id, or values of the categorical code that is balanced; None for all.
        codes: Codes that are held, each NAME=VALUE; the others are drawn.
        attributes: Attributes that are held, each NAME=NUMBER; the others are drawn.
        truncation: Truncation ψ, 0 to 1.
        format: How pictures are encoded.
        quality: Of jpeg and webp, 1 to 100; None for the API's default.
    """

    model: str
    version: str | None = None
    count: int
    seed: int = 0
    labels: tuple[str, ...] | None = None
    codes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    truncation: float = 1.0
    format: FileFormat = "png"
    quality: int | None = None

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        names = "labels", "codes", "attributes"
        lists = {name: tuple(found[name]) for name in names if found.get(name) is not None}
        return cls(**{**found, **lists})

    def to_json(self) -> dict[str, Any]:
        """Return the request for a file of JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SettledSample:
    """A request as the loaded model understands it.

    Attributes:
        provenance: What records tell of it.
        data_set: The pictures.
        options: What is asked for with every picture, besides its class and seed.
    """

    provenance: JobProvenance
    data_set: DataSet
    options: SampleOptions


def settle(request: SampleRequest, loaded: models_pb2.LoadedModel) -> SettledSample:
    """Read a request by the card of the model.

    Args:
        request: What the user asks for.
        loaded: The model.

    Raises:
        JobError: The model cannot make that.
    """
    card = loaded.card
    try:
        codes, attributes = read_codes(request.codes, card), read_attributes(request.attributes)
        data_set = plan_data_set(
            card,
            count=request.count,
            seed=request.seed,
            labels=request.labels,
            codes=codes or None,
            ending=request.format,
        )
    except ValueError as error:
        raise JobError(str(error)) from error
    options = SampleOptions(version=card.version, truncation=request.truncation, format=request.format)
    if request.quality is not None:
        options["quality"] = request.quality
    if attributes:
        options["attributes"] = attributes
    return SettledSample(JobProvenance.of(loaded, {"codes": codes, **options}), data_set, options)
