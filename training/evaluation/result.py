"""The outcome of an evaluation: figures, each beside the same figure of real images, and the protocol they follow."""

import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

CONSISTENCY = "class_consistency"
"""Name of the overall metric, and with a slash and a class name behind it that of the class."""


class Metric(BaseModel):
    """One quality figure; the shape of `gantry.v1.Metric`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1)]
    """For example "coverage"."""

    value: float
    """Of the generator's samples. Shares lie in [0, 1]."""

    reference: float | None = None
    """The same figure of real images, where it was taken."""


class CodeValues(BaseModel):
    """What the values of a categorical code were found to mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """What the code stands for, for example "digit"; empty where it was not found out."""

    values: tuple[str, ...]
    """The class that each value was matched to, by index; "value-3" where there was none left."""

    recalls: tuple[float | None, ...]
    """Share of the real test images of that class from which Q reads the value."""


class CodeNumber(BaseModel):
    """What a number of a continuous code was found to move."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The attribute it moves, for example "slant"; empty where it moves none clearly."""

    correlations: dict[str, float]
    """Spearman's ρ with each measured attribute, -1 to 1."""


class Codes(BaseModel):
    """What the codes of an InfoGAN were found to mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    categorical: tuple[CodeValues, ...]
    """By their order in the graph."""

    continuous: tuple[CodeNumber, ...]
    """By their order in the graph."""


class Evaluation(BaseModel):
    """All figures of one evaluation; the shape of `gantry.v1.Evaluation`, so that the card can hold it as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: tuple[Metric, ...]
    """Each name once."""

    protocol: dict[str, str]
    """How they were taken: split, counts, features, resolution, seeds."""

    codes: Codes | None = None
    """What an InfoGAN's codes mean."""

    def __getitem__(self, name: str) -> Metric:
        """The metric of a name.

        Raises:
            KeyError: If there is none; the message lists those there are.
        """
        by_name = {metric.name: metric for metric in self.metrics}
        if name not in by_name:
            raise KeyError(f"no metric {name!r}; there are {', '.join(by_name)}")
        return by_name[name]

    def table(self, *, classes: bool = True) -> list[tuple[str, str, str]]:
        """The figures to be read by people: a heading, then name, value and reference of each metric.

        Args:
            classes: Whether to give the class consistency of single classes.
        """
        single = f"{CONSISTENCY}/"
        metrics = [metric for metric in self.metrics if classes or not metric.name.startswith(single)]
        rows = [(metric.name.replace("_", " "), _figure(metric.value), _figure(metric.reference)) for metric in metrics]
        return [("", "samples", "real images"), *rows]

    def with_protocol(self, **entries: str) -> Self:
        """A copy whose protocol says more."""
        return self.model_copy(update={"protocol": {**self.protocol, **entries}})

    def to_json(self) -> str:
        """As indented JSON, ending in a newline."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    def save(self, path: Path) -> None:
        """Writes `to_json` to a file."""
        path.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            pydantic.ValidationError: If it holds something else.
        """
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"
