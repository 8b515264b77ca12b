"""Minibatch discrimination: closeness in numbers, whatever the order of a batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.tiny import batches_of, build, gan
from training.nets.minibatch import MinibatchDiscrimination


def layer(features: int = 6, kernels: int = 4) -> MinibatchDiscrimination:
    torch.manual_seed(0)
    return MinibatchDiscrimination(features, kernels)


@settings(max_examples=20)
@given(order=st.permutations(range(7)))
def test_another_order_gives_the_same_numbers_in_that_order(order: list[int]) -> None:
    features = torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer()(features[order]), layer()(features)[order])


def test_equal_images_are_as_near_as_can_be_and_far_ones_not_at_all() -> None:
    torch.testing.assert_close(layer()(torch.ones(5, 6)), torch.full((5, 4), 4.0))
    far = layer()(torch.diag(torch.full((6,), 1e4)))
    torch.testing.assert_close(far, torch.zeros(6, 4))


def test_it_is_the_papers_sum() -> None:
    net, features = layer().requires_grad_(False), torch.randn(3, 6)
    matrices = (features @ net.weight).view(3, 4, 5)
    expected = [
        [sum((-(matrices[i, k] - matrices[j, k]).abs().sum()).exp() for j in range(3) if j != i) for k in range(4)]
        for i in range(3)
    ]
    torch.testing.assert_close(net(features), torch.tensor(expected))


@pytest.mark.parametrize("kernels", [0, 3])
def test_under_it_scores_depend_on_the_batch_and_samples_are_not_mixed_with_real_images(kernels: int) -> None:
    model = build(gan(discriminator__norm="none", discriminator__minibatch=kernels))
    batch, net = batches_of(model)[0], model.phases[0].module
    alone, together = net(batch.images[:2])[0], net(batch.images)[0][:2]
    assert torch.allclose(alone, together, atol=1e-6) is (kernels == 0)
    statistics = model.phases[0].loss(batch).statistics
    torch.testing.assert_close(statistics["real"], net(batch.images)[0].mean())
