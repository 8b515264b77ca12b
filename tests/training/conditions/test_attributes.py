"""Attributes as what a generator is given: their vector, where they are from, and what they refuse."""

import dataclasses

import pytest
import torch
from google.protobuf import json_format

from tests.training.tiny import MEANINGS, attribute_gan, build, dots, take_step
from training.archive.package import list_graphs
from training.conditions import AttributesCondition
from training.config import ConfigError
from training.data import sources

DOTS = dots(attributes=True)
PLAIN = dots(classes=0, attributes=True)
CONDITION = AttributesCondition()


@pytest.fixture
def loaded(monkeypatch):
    """Sets what `--data dots` is."""
    return lambda dataset: monkeypatch.setitem(sources.DATASETS, "dots", lambda split, _: dataset)


def test_samples_have_the_class_and_the_attributes_of_the_real_images_beside_them() -> None:
    known = {"labels": torch.tensor([2, 0]), "attributes": torch.tensor([[0.5, -1], [0, 1]])}
    draws = CONDITION.draw(known, 2, torch.Generator())
    assert CONDITION.vector(draws, DOTS.info).tolist() == [[0, 0, 1, 0.5, -1], [1, 0, 0, 0, 1]]
    assert CONDITION.size(DOTS.info) == 5


@pytest.mark.parametrize(("condition", "data"), [(CONDITION, PLAIN), (AttributesCondition(classes=False), DOTS)])
def test_without_classes_the_vector_is_the_attributes(condition: AttributesCondition, data) -> None:
    draws = condition.draw(data.known, len(data), torch.Generator())
    assert torch.equal(condition.vector(draws, data.info), data.attributes)
    assert condition.size(data.info) == 2
    assert not condition.card(data.info, None).classes
    assert condition.showcase(data.info, 5, torch.Generator()).draws["attributes"].shape == (14, 2)


def test_the_vector_is_in_the_order_of_the_graphs_inputs() -> None:
    config = attribute_gan()
    card = config.card(DOTS.info, None)
    list_graphs(card, ["model.pt2"])
    assert list(card.graphs[0].inputs) == ["latent", "class", *MEANINGS]
    assert [one.name for one in card.classes] == list(DOTS.class_names)
    shade, place = map(json_format.MessageToDict, card.attributes)
    assert shade == {"name": "shade", "description": "how bright", "min": -1, "max": 1}
    assert place["name"] == "place"
    assert "shade, place" in card.description


def test_a_tick_sweeps_one_attribute_at_a_time_in_a_row_for_each_class() -> None:
    shown = CONDITION.showcase(DOTS.info, 5, torch.Generator().manual_seed(0))
    assert shown.columns == 2 * 7
    assert shown.draws["labels"].view(3, 14).tolist() == [[row] * 14 for row in range(3)]
    attributes = shown.draws["attributes"].view(3, 2, 7, 2)
    for number in range(2):
        torch.testing.assert_close(attributes[:, number, :, number], torch.linspace(-1, 1, 7).expand(3, -1))
        assert not attributes[:, number, :, 1 - number].any()
    assert len(shown.latents.unique(dim=0)) == 1


def test_of_many_classes_some_are_shown_from_the_first_to_the_last() -> None:
    rows = CONDITION.shown_classes(dots(classes=52, count=52, attributes=True).info).tolist()
    assert (len(rows), rows[0], rows[-1]) == (10, 0, 51)
    assert rows == sorted(set(rows))


def test_some_attributes_may_be_named_and_the_model_knows_no_others(loaded) -> None:
    loaded(DOTS)
    for names in ("place", " place, "):
        data = attribute_gan(condition__names=names).load("test")
        assert data.info.attribute_meanings == {"place": MEANINGS["place"]}
        assert torch.equal(data.attributes, DOTS.attributes[:, 1:])
    both = attribute_gan(condition__names="place,shade").load("test")
    assert list(both.info.attribute_meanings) == list(MEANINGS)  # in the order of the data, whatever that of the flag
    config = attribute_gan(condition__names="place")
    model = build(config, config.load("test"))
    assert all(value.isfinite() for value in take_step(model).values())


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (
            dots(),
            {},
            "--data dots has no attributes, which dcgan needs: train on data of which numbers are known, or --set "
            "condition.kind=label or condition.kind=none",
        ),
        (
            DOTS,
            {"condition__names": "hue,place"},
            "--set condition.names=hue: the attributes of dots are shade, place",
        ),
        (
            PLAIN,
            {"terms__classifier__weight": 1},
            "--data dots has no classes, which dcgan needs: put the pictures of each class in a folder of its own",
        ),
    ],
)
def test_data_that_lack_what_is_asked_for_are_refused(loaded, data, settings, message: str) -> None:
    loaded(data)
    with pytest.raises(ConfigError) as caught:
        attribute_gan(**settings).load("test")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"discriminator__concat": True},
        {"condition__classes": False, "discriminator__projection": False, "terms__attributes__weight": 1},
        {"discriminator__projection": False, "terms__attributes__weight": 1, "terms__classifier__weight": 1},
    ],
)
def test_whatever_tells_the_discriminator_takes_steps(settings, channels: int) -> None:
    model = build(attribute_gan(**settings), dots(channels=channels, attributes=True))
    assert all(value.isfinite() for step in range(2) for value in take_step(model, step).values())
    model.sample_grid(model.generator)


def test_a_measure_is_narrowed_with_the_attributes() -> None:
    def measure(images, labels):
        return torch.stack([images[:, 0, 0, 0].float(), labels.float()], 1)

    data = dataclasses.replace(DOTS, measure=measure)
    some = AttributesCondition(names=("place",)).chosen(data)
    assert torch.equal(some.measure(data.images, data.labels), data.labels[:, None].float())
