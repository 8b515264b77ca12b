"""Translators whose faults are known, against a network that has seen the world."""

import pytest
import torch
from torch import nn

from training.config.translation import TranslationConfig
from training.data import UnpairedDataset
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


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (40, 50)])
def test_a_picture_of_any_size_keeps_it(height, width):
    net = Shift(0.0)
    picture = torch.rand(3, height, width) * 2 - 1
    assert torch.equal(translate(net, picture, 4), picture)  # type: ignore[arg-type]
    assert all(side % 4 == 0 for side in net.seen[0][2:])
