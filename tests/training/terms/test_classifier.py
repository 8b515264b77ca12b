"""The auxiliary classifier: whom it learns from, and whom it teaches."""

import math

import pytest
import torch

from tests.training.terms.seen import seen, verdict
from tests.training.tiny import batches_of, build, dots, label_gan
from training.terms.classifier import AuxiliaryClassifier

CONFIG = {"discriminator__concat": False, "terms__classifier__weight": 0.5}


def test_it_has_logits_of_every_class_and_is_not_told_the_label() -> None:
    net = label_gan(**CONFIG).build_discriminator(dots().info).eval()
    images = torch.randn(2, 1, 8, 8)
    logits = [net.heads["classifier"](net(images, torch.eye(3)[[label, label]])[1]) for label in (0, 1)]
    assert logits[0].shape == (2, 3)
    assert torch.equal(*logits)


@pytest.mark.parametrize("index", [0, 1])
def test_it_adds_its_weighted_cross_entropy_to_both_losses(index: int) -> None:
    losses = {}
    for weight in (0.5, 2.0):
        model = build(label_gan(**CONFIG | {"terms__classifier__weight": weight}))
        losses[weight], statistics, _ = model.phases[index].loss(batches_of(model)[index])
    torch.testing.assert_close(losses[2.0] - losses[0.5], (2.0 - 0.5) * statistics["classifier"])
    assert statistics["classifier"] > 0


def test_the_discriminator_learns_it_of_real_images_alone_and_the_generator_of_samples() -> None:
    model = build(label_gan(**CONFIG))
    discriminator = model.phases[0].module
    head = discriminator.heads["classifier"]
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    for phase, batch in zip(model.phases, batches_of(model), strict=True):
        statistics = phase.loss(batch).statistics
        assert statistics["classifier"].item() == pytest.approx(math.log(3))  # it knows nothing yet
    batch = batches_of(model)[0]
    loss = model.phases[0].loss(batch).statistics["classifier"]
    (slope,) = torch.autograd.grad(loss, head.weight)
    condition = torch.nn.functional.one_hot(batch.draws["labels"], 3).float()
    _, features = discriminator(batch.images, condition)
    wrong = torch.full((6, 3), 1 / 3) - condition
    torch.testing.assert_close(slope, wrong.T @ features / 6, rtol=0.1, atol=2e-3)  # a spectral norm moves a little


@pytest.mark.parametrize(
    ("side", "samples", "expected"),
    [
        ("discriminator", False, math.log(1 + 2 * math.e**-2)),
        ("discriminator", True, math.log(1 + 2 * math.e**-2) + math.log(2 + math.e)),
        ("generator", False, math.log(2 + math.e)),
        ("generator", True, math.log(2 + math.e)),
    ],
)
def test_it_is_the_papers_by_hand(side, samples: bool, expected: float) -> None:
    """Odena et al., 2017, eq. 3: E[log P(c | x)] + E[log P(c | G(z, c))] for one, the latter for the other."""
    right, wrong = torch.tensor([[0.0, 2.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    heads = {"classifier": torch.nn.Identity()}
    shown = seen(side, verdict(right, heads=heads), verdict(wrong, heads=heads), labels=torch.tensor([1]))
    assert AuxiliaryClassifier(weight=1, samples=samples).value(shown).item() == pytest.approx(expected, rel=1e-5)


def test_without_it_none_is_reported() -> None:
    model = build(label_gan())
    losses = [phase.loss(batch) for phase, batch in zip(model.phases, batches_of(model), strict=True)]
    assert all("classifier" not in loss.statistics for loss in losses)
