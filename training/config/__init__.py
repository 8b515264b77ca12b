"""Everything that decides a training run, typed and checked; it stands beside each checkpoint as config.json.

Where the run goes and on which device it runs are no part of it: the same configuration gives the same model.
"""

from typing import Annotated

from pydantic import Field, TypeAdapter

from training.config.base import FREE_TO_CHANGE, ConfigError, EmaConfig, OptimizerConfig, Precision, TrainConfig
from training.config.cgan import CganConfig, DiscriminatorConfig, GeneratorConfig
from training.config.cyclegan import CropConfig, CycleGanConfig, PatchConfig, TranslatorConfig
from training.config.infogan import CodesConfig, InfoGanConfig

_ANY: TypeAdapter[TrainConfig] = TypeAdapter(
    Annotated[CganConfig | InfoGanConfig | CycleGanConfig, Field(discriminator="family")]
)


def parse_config(text: bytes) -> TrainConfig:
    """Reads the configuration of any family.

    Args:
        text: JSON, as `model_dump_json` writes it.

    Returns:
        The configuration, of its family's type.

    Raises:
        pydantic.ValidationError: If it is not of this version of the code.
    """
    return _ANY.validate_json(text)


__all__ = [
    "FREE_TO_CHANGE",
    "CganConfig",
    "CodesConfig",
    "ConfigError",
    "CropConfig",
    "CycleGanConfig",
    "DiscriminatorConfig",
    "EmaConfig",
    "GeneratorConfig",
    "InfoGanConfig",
    "OptimizerConfig",
    "PatchConfig",
    "Precision",
    "TrainConfig",
    "TranslatorConfig",
    "parse_config",
]
