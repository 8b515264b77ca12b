"""Differentiable augmentation (Zhao et al., 2020, arXiv:2006.10738): little data go further.

Real images and samples are changed alike, so that the discriminator cannot tell them apart by the changes, and the
generator, which the gradients reach through them, does not make any.
"""

from collections.abc import Callable, Mapping

import torch
from pydantic import field_validator
from torch import Tensor

from training.augmentations.base import Augmentation
from training.data import DatasetInfo

_SHIFT = 1 / 8  # of the side, the most that an image is moved by
_HOLE = 1 / 2  # of the side, that of the square that is cut out

_DRAWS = {"color": 3, "translation": 2, "cutout": 2}  # uniform numbers that each policy takes


class DifferentiableAugmentation(Augmentation):
    """Colour, translation and cutout, as of the paper."""

    policy: str = "color,translation,cutout"
    """Which of the three, in the paper's order; empty for none."""

    @field_validator("policy")
    @classmethod
    def _is_known(cls, policy: str) -> str:
        unknown = [name for name in policy.split(",") if policy and name not in _DRAWS]
        if unknown:
            raise ValueError(
                f"--set augmentations.differentiable.policy={policy}: each must be one of {', '.join(_DRAWS)}"
            )
        return policy

    @property
    def is_used(self) -> bool:  # noqa: D102
        return bool(self.policy)

    def draws(self, info: DatasetInfo) -> dict[str, Callable[[int, torch.Generator], Tensor]]:  # noqa: ARG002
        """Numbers uniform in [0, 1) for each policy."""

        def uniform(numbers: int) -> Callable[[int, torch.Generator], Tensor]:
            return lambda count, source: torch.rand(count, numbers, generator=source)

        return {name: uniform(_DRAWS[name]) for name in self.policy.split(",")}

    def changed(self, images: Tensor, draws: Mapping[str, Tensor], images_seen: Tensor) -> Tensor:  # noqa: ARG002, D102
        for name in self.policy.split(","):
            images = _POLICIES[name](images, draws[name])
        return images


def coloured(images: Tensor, uniform: Tensor) -> Tensor:
    """Changes brightness (by up to ±½ of the range 0 to 1), saturation (0 to 2 times) and contrast (½ to 1½ times).

    Args:
        images: float32 [B, C, H, W] in [-1, 1].
        uniform: float32 [B, 3] in [0, 1).
    """
    brightness, saturation, contrast = uniform[:, :, None, None, None].unbind(1)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    level = images.mean((1, 2, 3), keepdim=True)
    return (images - level) * (contrast + 0.5) + level


def translated(images: Tensor, uniform: Tensor) -> Tensor:
    """Moves each image by whole pixels, up to an eighth of its side each way; where it leaves a gap there are zeros.

    Args:
        images: float32 [B, C, S, S].
        uniform: float32 [B, 2] in [0, 1): down and right.
    """
    side = images.shape[-1]
    most = round(side * _SHIFT)
    moved = (uniform * (2 * most + 1)).long() - most
    padded = torch.nn.functional.pad(images, (most,) * 4)
    places = torch.arange(side, device=images.device) + most
    rows, columns = (places[None] - moved[:, axis, None] for axis in (0, 1))  # where each pixel comes from, [B, S]
    each = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def cut_out(images: Tensor, uniform: Tensor) -> Tensor:
    """Sets a square of half the side to zero, whose middle lies anywhere in the image.

    Args:
        images: float32 [B, C, S, S].
        uniform: float32 [B, 2] in [0, 1): where the middle is, down and right.
    """
    side = images.shape[-1]
    places = torch.arange(side, device=images.device) + 0.5
    inside = (places[None, None] - uniform[:, :, None] * side).abs() < side * _HOLE / 2  # [B, 2, S]
    return images * ~(inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]


_POLICIES = {"color": coloured, "translation": translated, "cutout": cut_out}
