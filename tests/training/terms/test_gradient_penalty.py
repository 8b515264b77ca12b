"""The gradient penalty against closed forms, and its own gradient against double backpropagation."""

import pytest
import torch
from torch import Tensor, nn

from tests.training.tiny import dots, gan
from training.terms import Heads, Seen, Verdict
from training.terms.gradient_penalty import GradientPenalty, gradient_penalty


def linear_critic(weight: Tensor):
    return lambda images: images.flatten(1) @ weight


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3), nn.LeakyReLU(0.2, inplace=True), nn.GroupNorm(1, 4), nn.Flatten(), nn.Linear(64, 1)]
    return nn.Sequential(*layers, nn.Softplus()).double()


def double_backward(critic, images: Tensor) -> Tensor:
    """The same by `autograd.grad`."""
    places = images.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(critic(places).sum(), places, create_graph=True)
    return (slopes.flatten(1).norm(dim=1) - 1).square().mean()


@pytest.mark.parametrize("length", [0.25, 1.0, 3.0])
def test_of_a_linear_critic_it_is_the_squared_distance_of_its_length_from_one(length: float) -> None:
    weight = torch.randn(2 * 5 * 5)
    weight = (weight * (length / weight.norm())).requires_grad_()
    images = torch.randn(7, 2, 5, 5)
    penalty = gradient_penalty(linear_critic(weight), images)
    assert penalty.item() == pytest.approx((length - 1) ** 2, abs=1e-6)
    (slope,) = torch.autograd.grad(penalty, weight)
    expected = 2 * (length - 1) * weight.detach() / length  # d(|w| − 1)² / dw
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("length", "expected"), [(0.25, 0.0), (1.0, 0.0), (3.0, 4.0)])
def test_one_sided_it_costs_nothing_to_be_flatter(length: float, expected: float) -> None:
    weight = torch.randn(25)
    penalty = gradient_penalty(
        linear_critic(weight * (length / weight.norm())), torch.randn(7, 1, 5, 5), one_sided=True
    )
    assert penalty.item() == pytest.approx(expected, abs=1e-5)


def test_its_gradient_is_that_of_double_backpropagation() -> None:
    critic, images = net(), torch.randn(5, 2, 6, 6, dtype=torch.float64)
    ours = gradient_penalty(lambda places: critic(places).squeeze(1), images)
    theirs = double_backward(lambda places: critic(places).squeeze(1), images)
    torch.testing.assert_close(ours, theirs.float())
    gradients = [torch.autograd.grad(each, critic.parameters(), allow_unused=True) for each in (ours, theirs)]
    assert sum(gradient is not None and bool(gradient.any()) for gradient in gradients[0]) >= 4
    for one, other in zip(*gradients, strict=True):
        zero = torch.zeros((), dtype=torch.float64)
        torch.testing.assert_close(
            zero if one is None else one, zero if other is None else other, rtol=1e-5, atol=1e-7, check_device=False
        )


def test_it_and_its_gradient_are_finite_where_the_critic_is_flat() -> None:
    weight = torch.zeros(25, requires_grad=True)
    penalty = gradient_penalty(linear_critic(weight), torch.randn(3, 1, 5, 5))
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert weight.grad.isfinite().all()


def test_it_is_float32_and_finite_under_bfloat16() -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(25, 8), nn.ReLU(), nn.Linear(8, 1))
    images = torch.randn(6, 1, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = gradient_penalty(lambda places: critic(places).squeeze(1), images)
    assert mixed.dtype == torch.float32
    mixed.backward()
    assert all(parameter.grad.isfinite().all() for parameter in critic.parameters() if parameter.grad is not None)
    exact = gradient_penalty(lambda places: critic(places).squeeze(1), images)
    torch.testing.assert_close(mixed, exact, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_slope_is_taken_between_each_real_image_and_its_sample(share: float) -> None:
    places: list[Tensor] = []

    def discriminate(images: Tensor) -> Verdict:
        places.append(torch._C._functorch.get_unwrapped(images).detach().clone())
        score = images.flatten(1).square().sum(1)
        return Verdict(score, score[:, None], Heads(nn.ModuleDict(), score))

    real, fake = torch.zeros(4, 1, 2, 2), torch.arange(1.0, 5).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    nothing = Verdict(torch.zeros(4), torch.zeros(4, 1), Heads(nn.ModuleDict(), torch.zeros(4)))
    draws = {"mixture": torch.full((4, 1, 1, 1), share)}
    value = GradientPenalty().value(
        Seen(
            "discriminator",
            nn.Identity(),
            discriminate,
            real,
            fake,
            nothing,
            nothing,
            views={},
            latents=torch.zeros(4, 1),
            draws=draws,
        )
    )
    torch.testing.assert_close(places[0], share * fake)
    lengths = 2 * (share * fake).flatten(1).norm(dim=1)  # the slope of a square is twice its place
    torch.testing.assert_close(value, (lengths - 1).square().mean(), rtol=1e-4, atol=1e-4)


def test_where_on_the_line_is_drawn_evenly_for_each_image() -> None:
    drawn = GradientPenalty().draws()["mixture"](4_000, torch.Generator().manual_seed(0))
    assert drawn.shape == (4_000, 1, 1, 1)
    torch.testing.assert_close(torch.histc(drawn, 4, 0, 1) / 4_000, torch.full((4,), 0.25), rtol=0, atol=0.03)


def test_only_the_discriminator_is_held() -> None:
    config = gan(discriminator__norm="layer", terms__gradient_penalty__weight=10)
    assert "gradient_penalty" in config.terms_of("discriminator")
    assert "gradient_penalty" not in config.terms_of("generator")
    assert config.build_discriminator(dots().info).heads.keys() == set()
