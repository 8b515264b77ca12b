"""Translators whose faults are known, against a network that has seen the world."""

import pytest
import torch
from torch import nn

from training.config.translation import TranslationConfig
from training.data import UnpairedDataset
from training.evaluation.directions import translate, translation_sheet
from training.evaluation.evaluate import evaluate
from training.evaluation.subject import EvaluationError, Subject
from training.nets.translator import TranslatorPair

pytest.importorskip("efficientnet_lite_pytorch")


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
    return evaluate(Subject(pair.eval(), config, {"test": test}.__getitem__))


def test_a_good_direction_is_nearer_to_its_domain_than_the_untranslated(outcome):
    figures, _ = outcome
    assert figures["kid/dark_to_zebra"].value < 0.6 * figures["kid/untranslated"].value
    assert abs(figures["kid/dark_to_zebra"].reference) < 0.2 * figures["kid/untranslated"].value


def test_the_cycle_and_the_colour_cast_are_what_was_done(outcome):
    figures, _ = outcome
    assert figures["cycle_l1/dark_to_zebra"].value == pytest.approx(80 / 255, abs=0.01)
    assert figures["cycle_psnr_db/dark_to_zebra"].value == pytest.approx(10.07, abs=0.2)
    for channel in ("red", "green", "blue"):
        assert figures[f"mean_{channel}_shift/dark_to_zebra"].value == pytest.approx(160, abs=1)
        assert figures[f"mean_{channel}_shift/zebra_to_dark"].value == pytest.approx(-80, abs=1)


def test_only_domains_that_imagenet_knows_are_recognised(outcome):
    figures, _ = outcome
    assert 0 <= figures["top1_zebra/dark_to_zebra"].value <= 1
    with pytest.raises(KeyError):
        figures["top1_dark/zebra_to_dark"]


def test_the_protocol_counts_and_measures(outcome):
    figures, _ = outcome
    assert "6 dark and 8 zebra" in figures.protocol["data"]
    assert "shorter side of 40" in figures.protocol["resolution"]
    assert "inception_fid" not in figures.protocol


def test_what_still_is_the_source_to_the_network_is_counted(outcome):
    figures, _ = outcome
    assert 0 <= figures["still_zebra/zebra_to_dark"].value <= 1
    assert figures["still_zebra/zebra_to_dark"].reference == figures["top1_zebra/dark_to_zebra"].reference


def test_a_model_of_one_way_has_figures_of_that_way_alone():
    class OneWay(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a_to_b = Shift(0.5)

    test = UnpairedDataset("shades", "test", pictures(20, 4, seed=0), pictures(180, 4, seed=1))
    config = TranslationConfig(
        recipe="cyclegan", data="shades", total_images=1, tick=1, domain_a="dark", domain_b="light"
    )
    figures, whole = evaluate(Subject(OneWay(), config, {"test": test}.__getitem__))
    names = [metric.name for metric in figures.metrics]
    assert "kid/dark_to_light" in names
    assert not any("light_to_dark" in name or "cycle" in name for name in names)
    assert len(whole.panels) == 1


def test_too_few_pictures_are_refused():
    test = UnpairedDataset("shades", "test", pictures(20, 3, seed=0), pictures(180, 4, seed=1))
    config = TranslationConfig(recipe="cyclegan", data="shades", total_images=1, tick=1)
    with pytest.raises(EvaluationError, match=r"shades: the test split has 3 and 4 pictures; .* at least 4 of each"):
        evaluate(Subject(nn.Identity(), config, {"test": test}.__getitem__))


def test_the_sheet_has_a_row_for_each_of_five_pictures():
    of_ten = pictures(20, 10, seed=0)
    width, height = translation_sheet(of_ten, of_ten, of_ten).size
    assert width == 3 * 194 + 2
    assert 5 * 194 + 2 < height < 5 * 194 + 40  # names stand above


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (40, 50)])
def test_a_picture_of_any_size_keeps_it(height, width):
    net = Shift(0.0)
    picture = torch.rand(3, height, width) * 2 - 1
    assert torch.equal(translate(net, picture), picture)  # type: ignore[arg-type]
    assert all(side % 4 == 0 for side in net.seen[0][2:])
