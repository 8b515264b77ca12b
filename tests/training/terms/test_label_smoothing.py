"""One-sided label smoothing is another target for real images."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.nn import functional

from tests.training.terms.seen import seen, verdict
from tests.training.tiny import batches_of, build, gan
from training.objectives import OBJECTIVES
from training.terms.label_smoothing import LabelSmoothing

scores = arrays("float32", 7, elements=st.floats(-30, 30, width=32)).map(torch.from_numpy)


@given(real=scores, fake=scores, smoothing=st.floats(0, 0.5))
def test_with_cross_entropy_it_is_a_smaller_target_for_real_ones(real: Tensor, fake: Tensor, smoothing: float) -> None:
    nothing = torch.zeros(7, 1)
    term = LabelSmoothing().value(seen("discriminator", verdict(nothing, real), verdict(nothing, fake)))
    smoothed = OBJECTIVES["non_saturating"].discriminator(real, fake) + smoothing * term
    targets = torch.full_like(real, 1 - smoothing)
    expected = functional.binary_cross_entropy_with_logits(real, targets)
    expected = expected + functional.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(smoothed, expected, rtol=1e-5, atol=1e-5)


def test_the_best_score_of_real_images_alone_is_finite() -> None:
    """σ(v) = 1 − s where there are no samples like them."""
    score = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([score], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.softplus(-score).mean() + 0.1 * score.mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert score.sigmoid().item() == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize("objective", ["minimax", "non_saturating"])
def test_the_discriminators_loss_has_it(objective: str) -> None:
    model = build(gan(discriminator__norm="none", objective=objective, terms__label_smoothing__weight=0.2))
    value, statistics, _ = model.phases[0].loss(batches_of(model)[0])
    torch.testing.assert_close(statistics["label_smoothing"], statistics["real"])
    plain = build(gan(discriminator__norm="none", objective=objective))
    without = plain.phases[0].loss(batches_of(plain)[0]).value
    torch.testing.assert_close(value, without + 0.2 * statistics["real"])
