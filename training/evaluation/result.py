"""The outcome of an evaluation: figures, each beside the same figure of real images, and the protocol they follow."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Metric(_Frozen):
    """One quality figure; the shape of `gantry.v1.Metric`."""

    name: str  # for example "coverage"
    value: float  # of the generator's samples; shares lie in [0, 1]
    reference: float | None = None  # the same figure of real images, where it was taken


class CodeValues(_Frozen):
    """What the values of a categorical code were found to mean."""

    name: str  # what the code stands for, for example "digit"; empty where it was not found out
    values: tuple[str, ...]  # the class that each value was matched to; "value-3" where there was none left
    recalls: tuple[float | None, ...]  # share of the real test images of that class from which Q reads the value


class CodeNumber(_Frozen):
    """What a number of a continuous code was found to move."""

    name: str  # the attribute it moves, for example "slant"; empty where it moves none clearly
    correlations: dict[str, float]  # Spearman's ρ with each measured attribute, -1 to 1


class Codes(_Frozen):
    """What the codes of an InfoGAN were found to mean, by their order in the graph."""

    categorical: tuple[CodeValues, ...]
    continuous: tuple[CodeNumber, ...]


class Evaluation(_Frozen):
    """All figures of one evaluation; the shape of `gantry.v1.Evaluation`, so that the card can hold it as it is."""

    metrics: tuple[Metric, ...]  # each name once
    protocol: dict[str, str]  # how they were taken: split, counts, features, resolution, seeds
    codes: Codes | None = None

    def __getitem__(self, name: str) -> Metric:
        """The metric of a name; raises KeyError if there is none."""
        return {metric.name: metric for metric in self.metrics}[name]

    def table(self) -> list[tuple[str, str, str]]:
        """The figures to be read by people: a heading, then name, value and reference of each metric."""
        rows = [(each.name.replace("_", " "), figure(each.value), figure(each.reference)) for each in self.metrics]
        return [("", "samples", "real images"), *rows]

    def save(self, path: Path) -> None:
        """Writes a file of indented JSON."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads what `save` wrote; raises FileNotFoundError or, if the file holds something else, ValidationError."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


def figure(value: float | None) -> str:
    """A figure to be read: whole numbers whole, others by four digits; empty where there is none."""
    if value is None:
        return ""
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"
