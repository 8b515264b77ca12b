"""A sample is a function of its seed, whatever the condition."""

import torch

from tests.training.evaluation.conftest import Labelled, NoCondition
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
