"""What a recipe is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.config import RunConfig

SMALL = {"precision": "float32", "generator.width": 32, "discriminator.width": 32}
"""Settings for small pictures on a CPU: such nets gain little from bfloat16, and float32 resumes exactly."""


@dataclass(frozen=True)
class Recipe:
    """A way to train.

    Attributes:
        paper: Where it is from.
        line: What it is, in one line.
        defaults: Its configuration; `data` is what it trains on unless told otherwise, `recipe` its name.
        on: By data set, the settings that are others there; see `RunConfig.changed`.
    """

    paper: str
    line: str
    defaults: RunConfig
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def config(self, data: str | None = None) -> RunConfig:
        """The configuration for a data set.

        Args:
            data: The data set's name; that of `defaults` where None.

        Raises:
            ConfigError: If its settings do not allow that.
        """
        data = data or self.defaults.data
        return self.defaults.changed({**self.on.get(data, {}), "data": data})
