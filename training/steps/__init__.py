"""What one training step of each model family is, as data: nets and a list of phases."""

from training.steps import cgan
from training.steps.phase import Batch, Model, Phase

FAMILIES = {"cgan": cgan.build}
"""By family, a function of the configuration, the data and the device that returns its `Model`."""

GENERATORS = {"cgan": cgan.build_generator}
"""By family, a function of the configuration and the data that returns its generator alone."""

__all__ = ["FAMILIES", "GENERATORS", "Batch", "Model", "Phase"]
