"""An InfoGAN whose codes are known: what the evaluation must find out about it."""

import numpy as np
import pytest
import torch
from torch import nn

from training.conditions import CodesCondition
from training.data import ImageDataset
from training.evaluation import sweeps
from training.evaluation.classifier import ClassifierConfig
from training.evaluation.evaluate import measure
from training.grids import GAP
from training.nets.posterior import Reading

SIDE = 28
CLASSIFIER = ClassifierConfig(filters=4, features=8, images=6_000, batch=64, steps=1)
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


def posterior(images: torch.Tensor) -> Reading:
    """A Q that reads the class exactly, and of the numbers nothing."""
    ink = (images[:, 0] + 1).sum(1)
    centre = (ink * torch.arange(SIDE)).sum(1) / ink.sum(1)
    labels = ((centre - 5) / 6).round().long().clamp(0, 3)
    values = torch.argsort(torch.tensor(ORDER))[labels]
    return Reading([nn.functional.one_hot(values, 4) * 20.0], torch.zeros(len(images), 3), torch.zeros(len(images), 3))


def strokes(split: str, wrong: str = "") -> ImageDataset:
    """Real pictures; the labels of the split `wrong` are all shifted by one class."""
    source = torch.Generator().manual_seed(len(split))
    labels = torch.arange(400) % 4
    images = ((drawn(labels, *(torch.rand(2, 400, generator=source) * 2 - 1)) + 1) * 127.5).to(torch.uint8)
    names = ("far-left", "left", "right", "far-right")
    labels = (labels + (split == wrong)) % 4
    return ImageDataset("mnist", split, images, labels, names, "ours")


@pytest.fixture(scope="module")
def outcome_of(subject_of, tmp_path_factory):
    condition = CodesCondition(categorical=(4,), continuous=(1, 2))
    cache = tmp_path_factory.mktemp("strokes")

    def make(load=strokes):
        options = {"posterior": posterior, "count": 400, "settings": CLASSIFIER, "cache_dir": cache}
        return measure(subject_of(Drawing(), condition, load, latent_size=2, **options))

    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(sweeps, "SWEEPS", 12)
        yield make


@pytest.fixture(scope="module")
def outcome(outcome_of):
    return outcome_of()


def test_values_are_matched_to_the_classes_that_they_draw(outcome):
    evaluation = outcome.evaluation
    (code,) = evaluation.codes.categorical
    assert code.name == "digit"
    assert code.values == ("right", "far-left", "far-right", "left")
    assert code.recalls == (1, 1, 1, 1)
    assert evaluation["classification_error/k1"].value == pytest.approx(0)


def test_numbers_are_named_by_what_they_move(outcome):
    evaluation = outcome.evaluation
    assert [number.name for number in evaluation.codes.continuous] == ["stroke-width", "slant", ""]
    assert evaluation["spearman_stroke-width/c1"].value > 0.95
    assert evaluation["spearman_slant/c2"].value > 0.95
    assert evaluation["spearman_slant/c3"].value == 0


def test_information_is_the_entropy_where_q_is_sure_and_none_where_it_guesses(outcome):
    evaluation = outcome.evaluation
    known = evaluation["mutual_information_nats/k1"]
    assert known.value == pytest.approx(known.reference, abs=1e-3)
    # A guess of 0 for a uniform number errs with variance 1/3: the bound is even below nothing.
    assert evaluation["mutual_information_nats/c1"].value == pytest.approx(-0.18, abs=0.05)


def test_served_pictures_and_real_ones_have_a_figure_each(outcome):
    evaluation = outcome.evaluation
    assert evaluation["classification_error/k1"].value == pytest.approx(0)
    assert evaluation["served_code_error/k1"].value < 0.1
    assert evaluation["served_code_error/k1"].reference < 0.1


def test_values_are_matched_on_the_validation_split_alone(outcome_of):
    """The test split's labels say otherwise, and may not be asked: the figure then is as bad as it truly is."""
    evaluation = outcome_of(lambda split: strokes(split, wrong="test")).evaluation
    assert evaluation.codes.categorical[0].values == ("right", "far-left", "far-right", "left")
    assert evaluation["classification_error/k1"].value == 1


def test_a_traversal_has_a_row_for_each_value_in_the_classes_order(outcome):
    assert list(outcome.figures) == ["traversal-c1.png", "traversal-c2.png", "traversal-c3.png"]
    figure = outcome.figures["traversal-c1.png"]
    cell = 2 * SIDE + GAP  # pictures are enlarged, and have names on two sides
    assert sweeps.SHOWN_STOPS * cell + GAP < figure.width < sweeps.SHOWN_STOPS * cell + GAP + 100
    assert 4 * cell + GAP < figure.height < 4 * cell + GAP + 40
    # The first row is the first class: its ink stands in the pictures' left quarter.
    left, top = figure.width - sweeps.SHOWN_STOPS * cell, figure.height - 4 * cell
    first = figure.crop((left, top, left + 2 * SIDE, top + 2 * SIDE))
    ink = np.asarray(first, dtype=float).sum(0)
    assert ink.argmax() < SIDE
