"""A pool of earlier translations for the discriminators (Shrivastava et al., 2017, arXiv:1612.07828)."""

from typing import Any

import torch
from torch import Tensor

from training import seeds


class ImagePool:
    """Keeps translations, and gives back an old one in half of the cases once it is full.

    A discriminator that sees only the newest translations makes the generators go round in circles.
    """

    def __init__(self, capacity: int, seed: int, name: str) -> None:
        """Makes an empty pool; without capacity it gives back what it is given."""
        self._capacity, self._seed, self._name = capacity, seed, name
        self._kept: list[Tensor] = []

    def exchange(self, pictures: Tensor, step: int) -> Tensor:
        """Takes pictures in, float32 [B, 3, H, W], and gives as many back, decided by seed, name and step.

        Returns:
            Of the same shape, without gradient; each picture is the one given or an older one that leaves the pool.
        """
        source = seeds.random_source(self._seed, "pool", self._name, step)
        return torch.cat([self._exchange_one(picture, source) for picture in pictures.detach().split(1)])

    def _exchange_one(self, picture: Tensor, source: torch.Generator) -> Tensor:
        if len(self._kept) < self._capacity:
            self._kept.append(picture.clone())
            return picture
        if not self._capacity or torch.rand((), generator=source).item() < 0.5:
            return picture
        place = int(torch.randint(self._capacity, (), generator=source))
        old, self._kept[place] = self._kept[place], picture.clone()
        return old.to(picture.device)  # a resumed pool begins on the CPU

    def state_dict(self) -> dict[str, Any]:
        """The pictures."""
        return {"kept": self._kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self._kept = list(state_dict["kept"])
