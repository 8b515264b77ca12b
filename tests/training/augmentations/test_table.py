"""The table of augmentations: what a configuration may name."""

import pytest

from tests.training.tiny import batches_of, build, gan
from training.augmentations import AUGMENTATIONS
from training.config import ConfigError


def test_an_unknown_name_is_refused_by_its_flag() -> None:
    with pytest.raises(ConfigError, match=r"--set augmentations.blur: there is nothing of this name; there are differ"):
        gan(augmentations__blur__sigma=1)


def test_all_together_train() -> None:
    names = {f"augmentations__{name}": {} for name in AUGMENTATIONS}
    config = gan(**names)
    assert list(config.used_augmentations) == sorted(AUGMENTATIONS)
    model = build(config)
    for phase, batch in zip(model.phases, batches_of(model), strict=True):
        assert phase.loss(batch).value.isfinite()


def test_they_survive_json() -> None:
    config = gan(augmentations__noise__sigma=0.3, augmentations__differentiable__policy="color")
    assert type(config).model_validate_json(config.model_dump_json()) == config
