"""The table of terms: whatever stands in it builds, is part of its sides' losses with its weight, and learns."""

import pytest
import torch

from tests.training.tiny import attribute_gan, batches_of, build, class_gan, code_gan, gan, label_gan
from training.terms import TERMS

MOST = {"label_smoothing": 0.5}
"""The largest weight of a term that may not weigh much."""


def config_with(name: str, weight: float):
    """A GAN that has what a term needs."""
    makers = {
        "attributes": attribute_gan,
        "class logits": class_gan,
        "label": label_gan,
        "categorical codes": code_gan,
        "continuous codes": code_gan,
    }
    make = next((makers[need] for need in TERMS[name].needs if need in makers), gan)
    label = {"discriminator__concat": False} if make is label_gan else {}
    # Without a norm that moves with every pass.
    return make(**label, discriminator__norm="layer", **{f"terms__{name}__weight": weight})


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_part_of_the_losses_of_its_sides_with_its_weight(name: str) -> None:
    losses = {}
    for weight in (0.125, 0.375):
        model = build(config_with(name, weight))
        pairs = zip(model.phases, batches_of(model), strict=True)
        losses[weight] = {phase.name: phase.loss(batch) for phase, batch in pairs}
    for side in ("discriminator", "generator"):
        light, heavy = losses[0.125][side], losses[0.375][side]
        assert (name in light.statistics) is (side in TERMS[name].sides)
        if side in TERMS[name].sides:
            assert light.statistics[name].dtype == torch.float32
            added = 0.25 * light.statistics[name]
            torch.testing.assert_close(heavy.value - light.value, added, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TERMS)
def test_repeating_a_phase_lowers_a_term_that_weighs_most(name: str) -> None:
    model = build(config_with(name, MOST.get(name, 50)))
    (index,) = [0] if "discriminator" in TERMS[name].sides else [1]
    phase, batch, values = model.phases[index], batches_of(model)[index], []
    for _ in range(60):
        loss = phase.loss(batch)
        phase.optimizer.zero_grad()
        loss.value.backward()
        phase.optimizer.step()
        values.append(loss.statistics[name].item())
    assert min(values[-10:]) < values[0] - 0.01


def test_what_two_terms_need_drawn_is_drawn_once() -> None:
    model = build(code_gan(terms__invariance__weight=1, terms__equivariance__weight=1))
    batch = batches_of(model)[0]
    assert set(batch.draws) == {"categorical", "continuous", "deformed"}
    assert all(len(drawn) == 6 for drawn in batch.draws.values())
