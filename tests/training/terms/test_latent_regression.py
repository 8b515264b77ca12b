"""The latent read back: from samples alone, in both phases, by a head that is told nothing else."""

import torch

from tests.training.tiny import batches_of, build, dots, label_gan

CONFIG = {"terms__latent_regression__weight": 0.5}


def test_what_is_read_is_compared_with_the_latents_of_the_samples() -> None:
    model = build(label_gan(**CONFIG, discriminator__norm="none"))
    for phase, batch in zip(model.phases, batches_of(model), strict=True):
        net = model.phases[0].module
        vector = torch.nn.functional.one_hot(batch.draws["labels"], 3).float()
        features = net(model.generator(batch.latents, vector), vector)[1]
        expected = (net.heads["latent"](features) - batch.latents).square().mean()
        torch.testing.assert_close(phase.loss(batch).statistics["latent_regression"], expected)


def test_a_reader_that_says_nothing_is_wrong_by_the_latents_variance() -> None:
    model = build(label_gan(**CONFIG, batch=3000, tick=3000, total_images=3000))
    head = model.phases[0].module.heads["latent"]
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    value = model.phases[1].loss(batches_of(model)[1]).statistics["latent_regression"]
    torch.testing.assert_close(value, torch.tensor(1.0), rtol=0, atol=0.05)


def test_the_generator_learns_from_it() -> None:
    model = build(label_gan(**CONFIG, adversarial_weight=0))
    model.phases[1].loss(batches_of(model)[1]).value.backward()
    assert all(weights.grad is not None for weights in model.generator.parameters())


def test_its_head_has_a_number_for_each_of_the_latent() -> None:
    net = label_gan(**CONFIG, latent_size=7).build_discriminator(dots().info)
    assert net.heads["latent"].out_features == 7
