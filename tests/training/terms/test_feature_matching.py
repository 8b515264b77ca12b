"""Feature matching: means of features, and what the generator learns of them alone."""

from functools import partial

import pytest
import torch

from tests.training.processes import together
from tests.training.terms.seen import seen, verdict
from tests.training.tiny import batches_of, build, gan
from training import distributed
from training.terms.feature_matching import FeatureMatching

REAL = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 4.0], [3.0, 2.0]])
FAKE = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 0.0], [1.0, 0.0]])


def value_of(real: torch.Tensor, fake: torch.Tensor) -> float:
    return FeatureMatching().value(seen("generator", verdict(real), verdict(fake))).item()


def test_it_is_the_squared_distance_of_the_means() -> None:
    assert value_of(REAL, FAKE) == pytest.approx(2**2 + 2**2)
    assert value_of(REAL, REAL.flip(0)) == 0


def value_of_share(rank: int) -> float:
    """The term in one of two processes, each with half of the batch."""
    with distributed.joined(torch.device("cpu")):
        return value_of(REAL.chunk(2)[rank], FAKE.chunk(2)[rank])


def test_two_processes_match_the_means_of_the_whole_batch() -> None:
    for end in together(*[partial(value_of_share, rank) for rank in (0, 1)]):
        assert end.error == ""
        assert end.result == pytest.approx(8)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_alone_it_is_all_that_the_generator_learns_from(norm: str) -> None:
    model = build(gan(discriminator__norm=norm, adversarial_weight=0, terms__feature_matching__weight=3))
    value, statistics, _ = model.phases[1].loss(batches_of(model)[1])
    torch.testing.assert_close(value, 3 * statistics["feature_matching"])
    value.backward()
    assert all(parameter.grad is not None for parameter in model.generator.parameters())
