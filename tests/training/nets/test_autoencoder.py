"""The autoencoder as a discriminator: its score is an energy, and samples are pushed away up to the margin."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.nets.kinds import config_of, make_discriminator
from tests.training.tiny import build, gan, take_step
from training.config import ConfigError
from training.nets.autoencoder import AutoencoderConfig, energy
from training.objectives import OBJECTIVES


def test_a_perfect_reconstruction_has_no_energy() -> None:
    images = torch.randn(3, 1, 8, 8)
    assert torch.equal(energy(images, images), torch.zeros(3))


@given(st.floats(-2, 2), st.integers(1, 3), st.integers(1, 6))
def test_the_energy_is_the_mean_squared_error_whatever_the_size(error: float, channels: int, side: int) -> None:
    images = torch.zeros(2, channels, side, side)
    torch.testing.assert_close(energy(images, images + error), torch.full((2,), error**2))


def test_the_score_is_the_negative_energy_in_margins() -> None:
    images = torch.randn(3, 1, 16, 16)
    for margin in (0.25, 1, 4):
        net = make_discriminator("autoencoder", margin=margin).eval()
        scores, code = net(images)
        torch.testing.assert_close(code, net.encoder(images).flatten(1))
        torch.testing.assert_close(scores, -energy(images, net.decoder(net.encoder(images))) / margin)


def test_hinge_losses_of_the_scores_are_the_papers() -> None:
    """E(x) + max(0, m − E(G(z))) and E(G(z)), here in units of the margin m; but for a constant."""
    margin, real, fake = 2.0, torch.tensor([0.5, 1.0]), torch.tensor([1.5, 3.0])
    hinge = OBJECTIVES["hinge"]
    paper = real.mean() + torch.relu(margin - fake).mean()
    torch.testing.assert_close(margin * (hinge.discriminator(-real / margin, -fake / margin) - 1), paper)
    torch.testing.assert_close(margin * hinge.generator(None, -fake / margin), fake.mean())


def test_the_decoder_mirrors_the_encoder() -> None:
    net = make_discriminator("autoencoder", 64, 3)
    assert net.encoder(torch.randn(2, 3, 64, 64)).shape == (2, 32, 4, 4)
    assert net.decoder(torch.randn(2, 32, 4, 4)).shape == (2, 3, 64, 64)
    assert net.decoder(torch.randn(2, 32, 4, 4)).abs().max() <= 1


def test_it_provides_an_energy_and_looks_at_no_condition() -> None:
    provided = AutoencoderConfig().provides
    assert "energy" in provided
    assert "condition input" not in provided
    assert config_of(AutoencoderConfig, norm="none").sees_the_batch is False


def test_an_energy_is_one_number() -> None:
    with pytest.raises(ConfigError, match=r"--set discriminator\.kind=autoencoder: an energy is one number"):
        AutoencoderConfig().build(condition_size=0, channels=1, size=16, heads=lambda _: {}, outcomes=2)


def test_it_learns_to_reconstruct_what_is_real() -> None:
    narrow = {"kind": "autoencoder", "width": 8, "norm": "none"}
    model = build(gan(discriminator=narrow, objective="hinge", optimizer__discriminator_lr=0.01))
    reports = [take_step(model, step) for step in range(20)]
    assert -reports[-1]["discriminator/real"] < -reports[0]["discriminator/real"] / 2
