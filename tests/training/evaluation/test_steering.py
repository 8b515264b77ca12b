"""A generator that follows one attribute, half follows another, and ignores the third: what is found out about it."""

import dataclasses

import pytest
import torch
from torch import nn

from training.conditions import AttributesCondition
from training.data import ImageDataset
from training.evaluation import sweeps
from training.evaluation.classifier import ClassifierConfig
from training.evaluation.evaluate import measure
from training.grids import GAP, to_uint8

SIDE = 16
NAMES = ("shade", "height", "tint")
CLASSIFIER = ClassifierConfig(filters=4, features=16, images=30_000, batch=64, steps=1)


def drawn(labels: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Pictures in [-1, 1]: the left half is as bright as the first value says, a third of it as the second, ...

    The right half shows the class, as the place of a bright column.
    """
    images = -torch.ones(len(values), 1, SIDE, SIDE)
    for number, value in enumerate(values.T):
        images[:, :, 5 * number : 5 * (number + 1), : SIDE // 2] = 0.8 * value.view(-1, 1, 1, 1)
    images[torch.arange(len(labels)), :, :, 9 + 2 * labels] = 1
    return images


def measured(images: torch.Tensor, _labels: torch.Tensor | None) -> torch.Tensor:
    parts = [images[:, 0, 5 * number : 5 * (number + 1), : SIDE // 2].float().mean((1, 2)) for number in range(3)]
    return (torch.stack(parts, 1) / 127.5 - 1) / 0.8


class Drawing(nn.Module):
    """Draws the first attribute as it is asked for, the second dragging the third along, and the third never."""

    def forward(self, noise: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        values = condition[:, 3:].clone()
        values[:, 2] = values[:, 1] / 2
        return drawn(condition[:, :3].argmax(1), values)


def pictures(split: str) -> ImageDataset:
    source = torch.Generator().manual_seed(len(split))
    labels, values = torch.arange(300) % 3, torch.rand(300, 3, generator=source) * 2 - 1
    meanings = dict.fromkeys(NAMES, "")
    images = to_uint8(drawn(labels, values))
    known = {"attributes": values, "attribute_meanings": meanings}
    return ImageDataset("halves", split, images, labels, ("a", "b", "c"), "ours", **known)


@pytest.fixture(scope="module")
def outcome_of(subject_of, tmp_path_factory):
    cache = tmp_path_factory.mktemp("halves")

    def make(load, condition=AttributesCondition()):  # noqa: B008
        options = {"count": 300, "settings": CLASSIFIER, "cache_dir": cache, "known": pictures("validation").known}
        return measure(subject_of(Drawing(), condition, load, latent_size=2, **options))

    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(sweeps, "SWEEPS", 12)
        yield make


@pytest.fixture(scope="module")
def outcome(outcome_of):
    return outcome_of(lambda split: dataclasses.replace(pictures(split), measure=measured))


def test_an_attribute_that_is_followed_is_explained_and_correlates(outcome):
    evaluation = outcome.evaluation
    for name in ("shade", "height"):
        assert evaluation[f"attribute_r2/{name}"].value > 0.99
        assert evaluation[f"attribute_r2/{name}"].reference > 0.99
        assert evaluation[f"spearman/{name}"].value == pytest.approx(1)
    assert evaluation["attribute_r2/tint"].value < 0
    assert evaluation["attribute_r2/tint"].reference > 0.99
    assert evaluation["spearman/tint"].value == 0


def test_what_moves_besides_is_a_share_of_the_others_range(outcome):
    evaluation = outcome.evaluation
    assert evaluation["side_effect/shade"].value == pytest.approx(0, abs=1e-6)
    assert evaluation["side_effect/height"].value == pytest.approx(0.25, abs=0.01)  # half of one of two
    assert evaluation["side_effect/tint"].value == pytest.approx(0, abs=1e-6)


def test_the_class_is_measured_besides(outcome):
    assert outcome.evaluation["class_consistency"].value > 0.9


def test_a_traversal_has_a_row_for_each_class(outcome):
    assert list(outcome.figures) == [f"traversal-{name}.png" for name in NAMES]
    cell = 4 * SIDE + GAP
    figure = outcome.figures["traversal-shade.png"]
    assert 9 * cell < figure.width < 9 * cell + 100
    assert 3 * cell < figure.height < 3 * cell + 40
    left, top = figure.width - 9 * cell, figure.height - 3 * cell
    shades = [figure.getpixel((left + stop * cell + 4, top + 4)) for stop in range(9)]
    assert shades == sorted(shades)
    assert shades[0] < 40
    assert shades[-1] > 220


def test_the_protocol_says_how_it_was_measured(outcome):
    protocol = outcome.evaluation.protocol
    assert protocol["attributes"].startswith("measured on the pixels")
    assert {"attribute_r2", "spearman", "side_effect"} <= protocol.keys()
    assert "attributes are those of a validation image, of that class" in protocol["seeds"]


def test_without_a_function_a_network_reads_the_attributes_and_its_own_errors_are_told(outcome_of):
    evaluation = outcome_of(pictures).evaluation
    assert evaluation.protocol["attributes"].startswith("read by a network")
    for name in NAMES:
        assert 0.8 < evaluation[f"attribute_r2/{name}"].reference < 1
    assert evaluation["attribute_r2/shade"].value > 0.8
    assert evaluation["attribute_r2/tint"].value < 0.2
    assert evaluation["spearman/shade"].value > 0.95
    assert evaluation["side_effect/height"].value > 2 * evaluation["side_effect/shade"].value


def test_an_attribute_that_never_changes_has_no_share_explained(outcome_of):
    def load(split: str) -> ImageDataset:
        data = dataclasses.replace(pictures(split), measure=measured)
        if split == "test":
            data.attributes[:, 1] = 0
        return data

    evaluation = outcome_of(load).evaluation
    assert evaluation["attribute_r2/height"].reference is None
