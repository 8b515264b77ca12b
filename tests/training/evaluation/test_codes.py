"""An InfoGAN whose codes are known: what the evaluation must find out about it."""

import pytest
import torch
from torch import nn

from training.config import CodesConfig, InfoGanConfig
from training.data import ImageDataset
from training.evaluation import codes as measuring
from training.evaluation.codes import Model, evaluate_codes
from training.evaluation.judging import JudgeConfig
from training.nets.infogan import Guess

SIDE = 28
JUDGE = JudgeConfig(filters=2, features=4, images=2_000, batch=64)
ORDER = (2, 0, 3, 1)
"""The class that each value of the code draws."""


def drawn(labels: torch.Tensor, slant: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Strokes in [-1, 1]: the class is the quarter of the picture's width that they stand in."""
    rows = torch.arange(SIDE).view(1, -1, 1) - SIDE / 2
    columns = torch.arange(SIDE).view(1, 1, -1)
    centre = 5 + 6 * labels.view(-1, 1, 1) - 0.2 * slant.view(-1, 1, 1) * rows
    away = (columns - centre).abs() - (1.5 + width.view(-1, 1, 1))
    return (0.5 - away).clamp(0, 1)[:, None] * 2 - 1


class Drawing(nn.Module):
    """A generator whose number c1 is the stroke's width and c2 its slant; c3 does nothing."""

    def forward(self, noise: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        labels = torch.tensor(ORDER)[condition[:, :4].argmax(1)]
        return drawn(labels, condition[:, 5], condition[:, 4])


class Reader(nn.Module):
    """A discriminator whose Q reads the class exactly, and of the numbers nothing."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.mean((1, 2, 3)), images

    def guess(self, images: torch.Tensor) -> Guess:
        ink = (images[:, 0] + 1).sum(1)
        centre = (ink * torch.arange(SIDE)).sum(1) / ink.sum(1)
        labels = ((centre - 5) / 6).round().long().clamp(0, 3)
        values = torch.argsort(torch.tensor(ORDER))[labels]
        logits = nn.functional.one_hot(values, 4) * 20.0
        return Guess([logits], torch.zeros(len(images), 3), torch.zeros(len(images), 3))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    def load(name, split, data_dir):
        source = torch.Generator().manual_seed(len(split))
        labels = torch.arange(400) % 4
        images = drawn(labels, *(torch.rand(2, 400, generator=source) * 2 - 1))
        names = ("far-left", "left", "right", "far-right")
        return ImageDataset(name, split, ((images + 1) * 127.5).to(torch.uint8), labels, names, "ours")

    patch = pytest.MonkeyPatch()
    patch.setattr(measuring, "load", load)
    patch.setattr(measuring, "SWEEPS", 12)
    config = InfoGanConfig(
        data="mnist", images=64, tick=64, codes=CodesConfig(noise=2, categorical=(4,), continuous=(1, 2))
    )
    with patch.context():
        yield evaluate_codes(
            Model(Drawing(), Reader(), config),  # type: ignore[arg-type]
            cache_dir=tmp_path_factory.mktemp("judges"),
            samples=400,
            config=JUDGE,
        )
    patch.undo()


def test_values_are_matched_to_the_classes_that_they_draw(outcome):
    evaluation, _ = outcome
    (code,) = evaluation.codes.categorical
    assert code.name == "digit"
    assert code.values == ("right", "far-left", "far-right", "left")
    assert code.recalls == (1, 1, 1, 1)
    assert evaluation["classification_error/k1"].value == pytest.approx(0)


def test_numbers_are_named_by_what_they_move(outcome):
    evaluation, _ = outcome
    assert [number.name for number in evaluation.codes.continuous] == ["stroke-width", "slant", ""]
    assert evaluation["spearman_stroke-width/c1"].value > 0.95
    assert evaluation["spearman_slant/c2"].value > 0.95
    assert evaluation["spearman_slant/c3"].value == 0


def test_information_is_the_entropy_where_q_is_sure_and_none_where_it_guesses(outcome):
    evaluation, _ = outcome
    known = evaluation["mutual_information_nats/k1"]
    assert known.value == pytest.approx(known.reference, abs=1e-3)
    # A guess of 0 for a uniform number errs with variance 1/3: the bound is even below nothing.
    assert evaluation["mutual_information_nats/c1"].value == pytest.approx(-0.18, abs=0.05)


def test_a_traversal_has_a_row_for_each_value_in_the_classes_order(outcome):
    _, traversals = outcome
    assert [traversal.number for traversal in traversals] == [0, 1, 2]
    assert traversals[0].rows == ("far-left", "far-right", "left", "right")
    assert traversals[0].images.shape == (4 * measuring.SHOWN_STOPS, 1, SIDE, SIDE)
