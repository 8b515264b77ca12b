"""R1 and R2 against critics whose slopes are known."""

import pytest
import torch
from torch import Tensor, nn

from training.terms import Heads, Seen, Verdict
from training.terms.zero_centred import R1, R2

NOTHING = Verdict(torch.zeros(4), torch.zeros(4, 1), Heads(nn.ModuleDict(), torch.zeros(4)))
REAL, FAKE = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3)


def value_of(term: R1 | R2, score) -> Tensor:
    """The term where a discriminator has this score."""

    def discriminate(images: Tensor) -> Verdict:
        scores = score(images.flatten(1))
        return Verdict(scores, scores[:, None], Heads(nn.ModuleDict(), scores))

    return term.value(
        Seen(
            "discriminator",
            nn.Identity(),
            discriminate,
            REAL,
            FAKE,
            NOTHING,
            NOTHING,
            views={},
            latents=torch.zeros(4, 1),
            draws={},
        )
    )


@pytest.mark.parametrize("term", [R1(), R2()])
def test_of_a_linear_critic_it_is_half_its_squared_length(term: R1 | R2) -> None:
    weight = torch.randn(9, requires_grad=True)
    penalty = value_of(term, lambda images: images @ weight)
    torch.testing.assert_close(penalty, weight.square().sum() / 2)
    (slope,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(slope, weight.detach())


@pytest.mark.parametrize(("term", "places"), [(R1(), REAL), (R2(), FAKE)])
def test_each_looks_at_its_own_images(term: R1 | R2, places: Tensor) -> None:
    """The slope of ½‖x‖² at x is x."""
    penalty = value_of(term, lambda images: images.square().sum(1) / 2)
    torch.testing.assert_close(penalty, places.flatten(1).square().sum(1).mean() / 2)
