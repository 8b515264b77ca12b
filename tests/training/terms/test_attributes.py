"""The regressor of attributes: whom it learns from, and whom it teaches."""

import torch

from tests.training.tiny import attribute_gan, batches_of, build, dots

CONFIG = attribute_gan(
    condition__classes=False, discriminator__projection=False, discriminator__norm="none", terms__attributes__weight=1
)


def test_the_discriminator_learns_it_of_real_images_and_the_generator_is_asked_on_samples() -> None:
    model = build(CONFIG)
    discriminator, generator = model.phases[0].module, model.generator
    for phase, batch in zip(model.phases, batches_of(model), strict=True):
        asked = batch.draws["attributes"]
        images = batch.images if phase.name == "discriminator" else generator(batch.latents, asked)
        guessed = discriminator.heads["attributes"](discriminator(images)[1])
        expected = (guessed - asked).square().mean()
        torch.testing.assert_close(phase.loss(batch).statistics["attributes"], expected)


def test_it_guesses_every_attribute() -> None:
    net = CONFIG.build_discriminator(dots(attributes=True).info)
    assert net.heads["attributes"](torch.zeros(5, net.trunk.features)).shape == (5, 2)
