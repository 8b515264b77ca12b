"""Everything that decides a training run, typed and checked; it stands beside each checkpoint as config.json.

Where the run goes and on which device it runs are no part of it: the same configuration gives the same model. Nets,
conditions and terms have their settings beside them; here is what all runs share.
"""

from training.config.crop import CropConfig
from training.config.run import (
    FREE_TO_CHANGE,
    ConfigError,
    EmaConfig,
    OptimizerConfig,
    Precision,
    RunConfig,
    SettingsGroup,
)

__all__ = [
    "FREE_TO_CHANGE",
    "ConfigError",
    "CropConfig",
    "EmaConfig",
    "OptimizerConfig",
    "Precision",
    "RunConfig",
    "SettingsGroup",
]
