"""Serves random crops of two domains, each a function of (seed, step) alone."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from training import seeds
from training.config import CropConfig
from training.data.domains import DomainsDataset
from training.data.streams import ahead, shuffled


class _Crops(ABC):
    """An endless stream of batches of both domains; each picture is cropped and mirrored anew."""

    def __init__(self, dataset: DomainsDataset, batch: int, crop: CropConfig, seed: int, device: torch.device) -> None:
        """Moves the pictures to the device, where they are in memory; those that are streamed are cut on the CPU."""
        self._domains: dict[str, Sequence[Tensor]] = {"A": dataset.a, "B": dataset.b}
        self._batch, self._crop, self._seed, self._device = batch, crop, seed, device
        self._get = ahead(self._cut_all)
        if isinstance(dataset.a, list):
            self._domains = {name: [each.to(device) for each in domain] for name, domain in self._domains.items()}
            self._get = self._cut_all

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, counted from 0; a picture that is decoded now and cannot be read raises a DataError.

        Returns:
            Pictures of A and of B, float32 [B, 3, S, S] in [-1, 1] each, on the device.
        """
        a, b = self._get(step)
        return a.to(self._device), b.to(self._device)

    @abstractmethod
    def _cut_all(self, step: int) -> list[Tensor]: ...

    def _cut_domain(self, pictures: Sequence[Tensor], step: int, order: str, source: torch.Generator) -> Tensor:
        """The crops of a domain's next pictures, which come in the order of this name."""
        indices = shuffled(len(pictures), self._seed, step * self._batch, self._batch, order).tolist()
        crops = [_cut(pictures[index], self._crop, source) for index in indices]
        return torch.cat(crops).contiguous(memory_format=torch.channels_last)

    def _source(self, step: int) -> torch.Generator:
        return seeds.random_source(self._seed, "crops", step)


class UnpairedCrops(_Crops):
    """Each domain comes in its own random order."""

    def _cut_all(self, step: int) -> list[Tensor]:
        source = self._source(step)
        return [self._cut_domain(pictures, step, name, source) for name, pictures in self._domains.items()]


class PairedCrops(_Crops):
    """Both domains come in one random order, and both pictures of a pair are cut and mirrored alike."""

    def _cut_all(self, step: int) -> list[Tensor]:
        return [self._cut_domain(pictures, step, "pairs", self._source(step)) for pictures in self._domains.values()]


def _cut(picture: Tensor, crop: CropConfig, source: torch.Generator) -> Tensor:
    """One random crop [1, 3, S, S]: a square of the picture, resized as if the whole picture had been."""
    lengths, top, left, mirrored = torch.rand(4, generator=source).tolist()
    height, width = picture.shape[1:]
    side = crop.min_side * (crop.max_side / crop.min_side) ** lengths
    square = min(height, width, max(1, round(crop.size * min(height, width) / side)))
    top, left = round(top * (height - square)), round(left * (width - square))
    cut = picture[None, :, top : top + square, left : left + square].float()
    resized = functional.interpolate(cut, (crop.size, crop.size), mode="bicubic", antialias=True)
    scaled = resized.clamp(0, 255).div(127.5).sub(1)
    return scaled.flip(3) if crop.mirror and mirrored < 0.5 else scaled
