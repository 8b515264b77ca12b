"""Adversarial objectives: pure functions from discriminator outputs to losses, and one table of them."""

from typing import Annotated

from pydantic import AfterValidator

from training.objectives.adversarial import OBJECTIVES, Objective


def _known(name: str) -> str:
    if name not in OBJECTIVES:
        raise ValueError(f"--set objective={name}: there is none of this name; there are {', '.join(OBJECTIVES)}")
    return name


ObjectiveName = Annotated[str, AfterValidator(_known)]
"""A setting that names an objective of the table."""

__all__ = ["OBJECTIVES", "Objective", "ObjectiveName"]
