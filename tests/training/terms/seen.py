"""What a term is shown, of features and scores that a test chooses."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.terms import Heads, Seen, Side, Verdict


def verdict(features: Tensor, score: Tensor | None = None, heads: Mapping[str, nn.Module] | None = None) -> Verdict:
    """A verdict on as many images as there are features."""
    return Verdict(
        torch.zeros(len(features)) if score is None else score, features, Heads(nn.ModuleDict(heads or {}), features)
    )


def seen(
    side: Side, of_real: Verdict | None, of_fake: Verdict, *, net: nn.Module | None = None, **draws: Tensor
) -> Seen:
    """Verdicts in the phase of a side, without the images."""
    nothing = torch.zeros(len(of_fake.features), 1, 2, 2)
    return Seen(
        side=side,
        net=net or nn.Identity(),
        discriminate=lambda images: verdict(images.flatten(1)),
        real=nothing,
        fake=nothing,
        of_real=of_real,
        of_fake=of_fake,
        views={},
        latents=torch.zeros(len(of_fake.features), 1),
        draws=draws,
    )
