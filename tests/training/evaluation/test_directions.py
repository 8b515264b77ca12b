"""Translators whose faults are known, against a network that has seen the world."""

import numpy as np
import pytest
import torch
from torch import nn

from training.config.paired import PairedConfig
from training.config.translation import TranslationConfig
from training.data import PairedDataset, UnpairedDataset
from training.evaluation.directions import measure_directions, translate, translation_sheet
from training.evaluation.findings import EvaluationError
from training.nets.translator import TranslatorPair

pytest.importorskip("efficientnet_lite_pytorch")

CPU = torch.device("cpu")


class Shift(nn.Module):
    """Adds a constant to all of a picture."""

    def __init__(self, change: float) -> None:
        super().__init__()
        self.change = change
        self.seen: list[tuple[int, ...]] = []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(pictures.shape))
        return pictures + self.change


class Kept(nn.Module):
    """Gives what it is given, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.seen += pictures
        return pictures


def pictures(brightness: int, count: int, seed: int) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return [
        torch.randint(brightness, brightness + 40, (3, 40, 50), generator=source).to(torch.uint8) for _ in range(count)
    ]


@pytest.fixture(scope="module")
def outcome():
    test = UnpairedDataset("shades", "test", pictures(20, 6, seed=0), pictures(180, 8, seed=1))
    config = TranslationConfig(
        recipe="cyclegan", data="shades", total_images=1, tick=1, domain_a="dark", domain_b="zebra"
    )
    # Brings dark to light exactly, but light only half of the way back.
    pair = TranslatorPair(Shift(160 / 127.5), Shift(-80 / 127.5))  # type: ignore[arg-type]
    return measure_directions(pair.eval(), config, test, CPU).evaluation


def test_a_good_direction_is_nearer_to_its_domain_than_the_untranslated(outcome):
    assert outcome["kid/dark_to_zebra"].value < 0.6 * outcome["kid/untranslated"].value
    assert abs(outcome["kid/dark_to_zebra"].reference) < 0.2 * outcome["kid/untranslated"].value


def test_the_cycle_and_the_colour_cast_are_what_was_done(outcome):
    assert outcome["cycle_l1/dark_to_zebra"].value == pytest.approx(80 / 255, abs=0.01)
    assert outcome["cycle_psnr_db/dark_to_zebra"].value == pytest.approx(10.07, abs=0.2)
    for channel in ("red", "green", "blue"):
        assert outcome[f"mean_{channel}_shift/dark_to_zebra"].value == pytest.approx(160, abs=1)
        assert outcome[f"mean_{channel}_shift/zebra_to_dark"].value == pytest.approx(-80, abs=1)


def test_only_domains_that_imagenet_knows_are_recognised(outcome):
    assert 0 <= outcome["top1_zebra/dark_to_zebra"].value <= 1
    with pytest.raises(KeyError):
        outcome["top1_dark/zebra_to_dark"]


def test_the_protocol_counts_and_measures(outcome):
    assert "6 dark and 8 zebra" in outcome.protocol["data"]
    assert "shorter side of 40" in outcome.protocol["resolution"]
    assert "inception_fid" not in outcome.protocol


def test_what_still_is_the_source_to_the_network_is_counted(outcome):
    assert 0 <= outcome["still_zebra/zebra_to_dark"].value <= 1
    assert outcome["still_zebra/zebra_to_dark"].reference == outcome["top1_zebra/dark_to_zebra"].reference


def test_a_model_of_one_way_has_figures_of_that_way_alone():
    class OneWay(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a_to_b = Shift(0.5)

    test = UnpairedDataset("shades", "test", pictures(20, 4, seed=0), pictures(180, 4, seed=1))
    config = TranslationConfig(
        recipe="cyclegan", data="shades", total_images=1, tick=1, domain_a="dark", domain_b="light"
    )
    found = measure_directions(OneWay(), config, test, CPU)
    names = [metric.name for metric in found.metrics]
    assert "kid/dark_to_light" in names
    assert not any("light_to_dark" in name or "cycle" in name for name in names)


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_translations_that_have_targets_are_measured_against_them(direction: str):
    """Half of the way from dark to light, or back."""
    dark = pictures(20, 4, seed=0)
    test = PairedDataset("shades", "test", dark, [picture + 160 for picture in dark])
    config = PairedConfig(
        recipe="pix2pix", data="shades", total_images=1, tick=1, domain_a="dark", domain_b="light", direction=direction
    ).changed({"generator.depth": 3})
    change = 80 / 127.5 * (1 if direction == "a_to_b" else -1)
    found = measure_directions(nn.ModuleDict({direction: Shift(change)}), config, test, CPU)
    outcome = found.evaluation
    way = "dark_to_light" if direction == "a_to_b" else "light_to_dark"
    assert outcome[f"l1/{way}"].value == pytest.approx(80 / 255, abs=0.001)
    assert outcome["l1/untranslated"].value == pytest.approx(160 / 255, abs=0.001)
    assert outcome["ssim/untranslated"].value < outcome[f"ssim/{way}"].value < 1
    assert f"kid/{way}" in {metric.name for metric in outcome.metrics}
    assert {"l1", "ssim"} <= outcome.protocol.keys()
    (panel,) = found.panels
    assert panel.width == 3 * 194 + 2  # input, translated, target


def test_a_perfect_translation_is_like_its_target_in_all():
    dark = pictures(20, 4, seed=0)
    test = PairedDataset("shades", "test", dark, [picture + 160 for picture in dark])
    config = PairedConfig(recipe="pix2pix", data="shades", total_images=1, tick=1)
    outcome = measure_directions(nn.ModuleDict({"a_to_b": Shift(160 / 127.5)}), config, test, CPU).evaluation
    assert outcome["ssim/A_to_B"].value == pytest.approx(1, abs=1e-4)
    assert outcome["l1/A_to_B"].value == pytest.approx(0, abs=1e-6)


def test_too_few_pictures_are_refused():
    test = UnpairedDataset("shades", "test", pictures(20, 3, seed=0), pictures(180, 4, seed=1))
    config = TranslationConfig(recipe="cyclegan", data="shades", total_images=1, tick=1)
    with pytest.raises(EvaluationError, match=r"shades: the test split has 3 and 4 pictures; .* at least 4 of each"):
        measure_directions(nn.Identity(), config, test, CPU)


def test_the_sheet_has_a_row_for_each_of_five_pictures():
    of_ten = pictures(20, 10, seed=0)
    width, height = translation_sheet({"in": of_ten, "out": of_ten, "none": [], "back": of_ten}).size
    assert width == 3 * 194 + 2
    assert 5 * 194 + 2 < height < 5 * 194 + 40  # names stand above


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (40, 50), (1, 2)])
@pytest.mark.parametrize("multiple", [4, 64])
def test_a_picture_of_any_size_keeps_it_and_is_padded_as_by_serving(height, width, multiple):
    net, picture = Kept(), torch.rand(3, height, width) * 2 - 1
    assert torch.equal(translate(net, picture, multiple), picture)
    missing = ((0, 0), (0, -height % multiple), (0, -width % multiple))
    assert torch.equal(net.seen[0], torch.from_numpy(np.pad(picture.numpy(), missing, mode="reflect")))
