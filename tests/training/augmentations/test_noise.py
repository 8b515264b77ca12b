"""Instance noise: how much, for how long, and from where."""

import pytest
import torch

from tests.training.tiny import batches_of, build, dots, gan
from training.augmentations.noise import InstanceNoise

IMAGES = torch.zeros(2, 1, 8, 8)


@pytest.mark.parametrize(("seen", "left"), [(0, 0.5), (250, 0.25), (500, 0), (900, 0)])
def test_it_falls_linearly_to_nothing(seen: int, left: float) -> None:
    noise = torch.ones(2, 1, 8, 8)
    changed = InstanceNoise(sigma=0.5, until=500).changed(IMAGES, {"noise": noise}, torch.full((2,), float(seen)))
    torch.testing.assert_close(changed, left * noise)


def test_it_is_drawn_for_every_image_of_its_shape() -> None:
    draw = InstanceNoise().draws(dots(channels=3).info)["noise"]
    drawn = draw(500, torch.Generator().manual_seed(0))
    assert drawn.shape == (500, 3, 8, 8)
    assert drawn.std().item() == pytest.approx(1, abs=0.01)


def test_real_images_and_samples_have_noise_of_their_own_in_both_phases() -> None:
    config = gan(augmentations__noise__sigma=0.3, objective="relativistic")
    model = build(config)
    for phase, batch in zip(model.phases, batches_of(model), strict=True):
        names = {name for name in batch.draws if name.startswith("noise/")}
        assert names == {"noise/real/noise", "noise/fake/noise"}
        assert not torch.equal(batch.draws["noise/real/noise"], batch.draws["noise/fake/noise"])
        plain = build(gan(objective="relativistic"))
        index = model.phases.index(phase)
        assert phase.loss(batch).value != plain.phases[index].loss(batches_of(plain)[index]).value


def test_without_sigma_it_is_left_out() -> None:
    assert gan(augmentations__noise__sigma=0).used_augmentations == {}
