"""Adversarial objectives: pure functions from discriminator outputs to losses, and one table of them."""

from training.objectives.adversarial import OBJECTIVES, Objective

__all__ = ["OBJECTIVES", "Objective"]
