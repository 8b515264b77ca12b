"""A sample is a function of its seed, whatever the condition."""

import torch

from tests.training.evaluation.conftest import Labelled, NoCondition
from training.conditions import AttributesCondition
from training.data import DatasetInfo
from training.evaluation.sample import Sampler

CPU = torch.device("cpu")
INFO = DatasetInfo("noise", 1, 2, ("a", "b", "c"), "", 1)


def echo(z, _condition):
    return torch.tanh(z.view(len(z), 1, 2, 2))


def test_a_sample_is_a_function_of_its_seed():
    sampler = Sampler(echo, Labelled(), 4, INFO, CPU)

    many, few = sampler.draw(700), sampler.draw(5)

    assert torch.equal(many.latents[:5], few.latents)
    assert torch.equal(sampler.make(*many[::2])[:5], sampler.make(*few[::2]))
    assert many.labels is not None
    assert many.labels[:7].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert len(many.latents.unique(dim=0)) == 700


def test_without_a_condition_the_generator_is_given_none():
    seen = []
    sampler = Sampler(lambda z, condition: seen.append(condition) or echo(z, condition), NoCondition(), 4, INFO, CPU)

    drawn = sampler.draw(3)
    images = sampler.make(drawn.latents, drawn.draws)

    assert seen == [None]
    assert drawn.labels is None
    assert images.shape == (3, 1, 2, 2)
    assert torch.equal(drawn.latents, Sampler(echo, Labelled(), 4, INFO, CPU).draw(3).latents)


def test_attributes_are_those_of_a_real_image_of_the_class():
    info = DatasetInfo("noise", 1, 2, ("a", "b", "c"), "", 1, attribute_meanings={"width": "", "weight": ""})
    labels = torch.arange(40) % 2  # none of the third class, which takes any image's
    known = {"labels": labels, "attributes": torch.stack([labels.float(), torch.linspace(-1, 1, 40)], 1)}
    sampler = Sampler(echo, AttributesCondition(), 4, info, CPU, known)

    many, few = sampler.draw(300), sampler.draw(5)

    assert many.labels.tolist() == [number % 3 for number in range(300)]
    asked = many.draws["attributes"]
    assert torch.equal(asked[:5], few.draws["attributes"])
    assert torch.equal(many.latents, Sampler(echo, Labelled(), 4, info, CPU).draw(300).latents)
    rows = {tuple(row) for row in known["attributes"].tolist()}
    assert {tuple(row) for row in asked.tolist()} == rows
    for label in (0, 1):
        assert (asked[many.labels == label][:, 0] == label).all()


def test_under_truncation_latents_lie_within_the_threshold():
    whole, within = (Sampler(echo, NoCondition(), 4, INFO, CPU, truncation=limit).draw(50) for limit in (None, 0.7))
    assert whole.latents.abs().max() > 0.7
    assert within.latents.abs().max() <= 0.7
