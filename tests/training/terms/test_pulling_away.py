"""The pulling-away term: cosines of pairs, whatever the order and the lengths."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.training.processes import together
from tests.training.terms.seen import seen, verdict
from training import distributed
from training.terms.pulling_away import PullingAway, mean_squared_cosine

FEATURES = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))


def test_it_is_the_papers_sum() -> None:
    pairs = [(one, other) for one in range(6) for other in range(6) if one != other]
    cosines = [torch.cosine_similarity(FEATURES[one], FEATURES[other], dim=0) for one, other in pairs]
    torch.testing.assert_close(mean_squared_cosine(FEATURES), torch.stack(cosines).square().sum() / (6 * 5))


@given(order=st.permutations(range(6)), lengths=st.lists(st.floats(0.1, 10), min_size=6, max_size=6))
def test_neither_order_nor_lengths_nor_signs_matter(order: list[int], lengths: list[float]) -> None:
    changed = FEATURES[order] * torch.tensor(lengths)[:, None] * torch.tensor([1, -1] * 3)[:, None]
    torch.testing.assert_close(mean_squared_cosine(changed), mean_squared_cosine(FEATURES))


@pytest.mark.parametrize(
    ("features", "expected"),
    [(torch.eye(3), 0.0), (torch.tensor([[1.0, 2.0], [-2.0, -4.0], [3.0, 6.0]]), 1.0), (torch.zeros(3, 2), 0.0)],
)
def test_its_extremes(features: Tensor, expected: float) -> None:
    assert mean_squared_cosine(features).item() == pytest.approx(expected, abs=1e-6)


def test_descent_pulls_samples_apart() -> None:
    features = (torch.ones(3, 3) + 0.1 * torch.randn(3, 3)).requires_grad_()
    optimizer = torch.optim.Adam([features], 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        mean_squared_cosine(features).backward()
        optimizer.step()
    assert mean_squared_cosine(features).item() < 0.01


def value_of_share(rank: int) -> tuple[float, list[list[float]]]:
    """The term in one of two processes, and the slope on its own features."""
    share = FEATURES.chunk(2)[rank].clone().requires_grad_()
    with distributed.joined(torch.device("cpu")):
        value = PullingAway().value(seen("generator", None, verdict(share)))
        value.backward()
        assert share.grad is not None
        return value.item(), share.grad.tolist()


def test_two_processes_compare_all_pairs_and_the_mean_of_their_gradients_is_that_of_one() -> None:
    whole = FEATURES.clone().requires_grad_()
    value = mean_squared_cosine(whole)
    value.backward()
    first, second = together(*[partial(value_of_share, rank) for rank in (0, 1)])
    assert (first.error, second.error) == ("", "")
    for result, _ in (first.result, second.result):
        assert result == pytest.approx(value.item())
    # Gradients of weights are averaged, and each process has the other's in its own.
    slopes = torch.tensor(first.result[1] + second.result[1]) / 2
    torch.testing.assert_close(slopes, whole.grad)


def test_it_is_float32_under_bfloat16() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        mixed = mean_squared_cosine(FEATURES)
    torch.testing.assert_close(mixed, mean_squared_cosine(FEATURES))
