"""What the parts of an evaluation find: figures, how they were taken, and panels of the report."""

from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor

from training.evaluation.result import Codes, Evaluation, Metric


class EvaluationError(ValueError):
    """A model cannot be evaluated as was asked; the message says what is allowed."""


@dataclass
class Findings:
    """What was found so far; metrics, protocol and codes are those of an `Evaluation`."""

    metrics: list[Metric] = field(default_factory=list)
    protocol: dict[str, str] = field(default_factory=dict)
    codes: Codes | None = None
    panels: list[Image.Image] = field(default_factory=list)
    figures: dict[str, Image.Image] = field(default_factory=dict)  # for the model card, by the names of their files

    def add(self, name: str, value: float, reference: float | None = None) -> None:
        """Adds a figure; see `Metric`."""
        self.metrics.append(Metric(name=name, value=value, reference=reference))

    @property
    def evaluation(self) -> Evaluation:
        """The figures as they are kept."""
        return Evaluation(metrics=tuple(self.metrics), protocol=self.protocol, codes=self.codes)


def share(right: Tensor) -> float:
    """The share of True."""
    return float(right.double().mean())
