"""What the zoo compares: one entry a row of the report, each a few settings beside those that all share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from training.objectives import OBJECTIVES, Objective

RECIPE = "dcgan"
"""The recipe that every entry changes."""

SHARED: dict[str, Any] = {
    "precision": "float32",
    "latent_size": 64,
    "batch": 64,
    "generator.kind": "patches",
    "generator.width": 32,
    "generator.init": "torch",
    "discriminator.kind": "patches",
    "discriminator.width": 32,
    "discriminator.norm": "spectral",
    "discriminator.init": "torch",
    "optimizer.kind": "adam",
    "optimizer.generator_lr": 6e-4,
    "optimizer.discriminator_lr": 6e-4,
    "optimizer.beta1": 0.5,
    "optimizer.beta2": 0.99,
    "ema.half_life": 10_000,
}
"""Settings of all entries: small nets that two CPU cores train in minutes."""

Group = Literal["objectives", "conditions"]


@dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
        name: What it is called, also the first part of its runs' folders.
        settings: What differs from `SHARED`, as `RunConfig.changed` takes it.
        group: Which table it stands in.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    group: Group = "objectives"

    @property
    def all_settings(self) -> dict[str, Any]:
        """Its settings and the shared ones."""
        return {**SHARED, **self.settings}


# An objective that asks for more than the shared nets is given it as its paper does; these then differ in more than the
# objective, as their rows say.
_CRITIC = {"objective": "wasserstein", "critic_steps": 5}
_OWN: dict[str, dict[str, Any]] = {
    "energy": {"objective": "energy", "discriminator.kind": "autoencoder", "terms.pulling_away.weight": 0.1},
    "wasserstein": _CRITIC,
    "wasserstein-clipping": {
        **_CRITIC,
        "discriminator.norm": "batch",
        "discriminator.clip": 0.01,
        "optimizer.kind": "rmsprop",
        "optimizer.generator_lr": 2e-4,
        "optimizer.discriminator_lr": 2e-4,
    },
    "wasserstein-penalty": {
        **_CRITIC,
        "discriminator.norm": "layer",
        "terms.gradient_penalty.weight": 10,
        "optimizer.beta1": 0,
    },
    "relativistic": {"objective": "relativistic"},
    "relativistic-r1-r2": {
        "objective": "relativistic",
        "discriminator.norm": "none",
        "terms.r1.weight": 1,
        "terms.r2.weight": 1,
    },
}

_LABEL = {"condition.kind": "label", "objective": "hinge"}
_CONDITIONS: dict[str, dict[str, Any]] = {
    "concatenation": {**_LABEL, "discriminator.concat": True},
    "embedding": {**_LABEL, "generator.embedding": 16, "discriminator.concat": True},
    "projection": {**_LABEL, "discriminator.projection": True},
    "classifier": {**_LABEL, "terms.classifier.weight": 0.2},
    "projection-classifier": {**_LABEL, "discriminator.projection": True, "terms.classifier.weight": 0.2},
}


def _is_alone(objective: Objective) -> bool:
    """Whether it compares real images with samples, and does not learn from labelled images besides."""
    return "labelled images" not in objective.needs


ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        *(
            Entry(name, {"objective": name})
            for name, each in OBJECTIVES.items()
            if name not in _OWN and _is_alone(each)
        ),
        *(Entry(name, settings) for name, settings in _OWN.items()),
        *(Entry(name, settings, "conditions") for name, settings in _CONDITIONS.items()),
    )
}
"""Every entry by its name."""
