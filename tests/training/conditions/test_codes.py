"""Codes: how they are given, drawn, fed, shown and described."""

import pytest
import torch

from tests.training.tiny import code_gan, dots
from training.conditions import CodesCondition
from training.config import ConfigError
from training.evaluation.result import CodeNumber, Codes, CodeValues

INFO = dots().info
CODES = CodesCondition(categorical=(4, 3), continuous=(1, 2))


@pytest.mark.parametrize(
    ("text", "values"), [("10,3", (10, 3)), ("7", (7,)), (" 4 , 2 ", (4, 2)), ((5,), (5,)), ([2, 3], (2, 3))]
)
def test_codes_can_be_given_as_a_text(text, values: tuple[int, ...]) -> None:
    assert code_gan(condition__categorical=text).condition.categorical == values


@pytest.mark.parametrize("text", ["", " , "])
def test_a_text_without_a_number_means_no_codes(text: str) -> None:
    config = code_gan(condition__categorical=text, terms__categorical_information__weight=0)
    assert config.condition.categorical == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"condition.categorical": "10,1"}, "--set condition.categorical=1: must be at least"),
        ({"condition.continuous": "0"}, "--set condition.continuous=0: must be at least 1"),
        ({"condition.continuous": "two"}, "--set condition.continuous=two: must be a whole number"),
        (
            {"condition.posterior.hidden": 0},
            "--set condition.posterior.hidden=0: must be at least",
        ),
        ({"condition.kinds": 0}, "--set condition.kinds: there is no setting of this name"),
        (
            {"condition.categorical": "", "terms.invariance.weight": 2, "terms.categorical_information.weight": 0},
            "--set terms.invariance.weight=2 needs categorical codes, which nothing provides: ",
        ),
        (
            {"condition.continuous": "", "terms.equivariance.weight": 2, "terms.continuous_information.weight": 0},
            "--set terms.equivariance.weight=2 needs continuous codes, which nothing provides: ",
        ),
        (
            {"condition.categorical": "", "condition.continuous": ""},
            "--set condition.categorical or condition.continuous: there must be at least one code",
        ),
        (
            {"terms.categorical_information.weight": 0, "terms.continuous_information.weight": 0},
            "condition codes needs information, which nothing provides: --set terms.categorical_",
        ),
    ],
)
def test_bad_codes_are_refused_by_the_name_of_their_flag(settings, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        code_gan().changed(settings)
    assert str(caught.value).startswith(message)


def test_codes_are_drawn_uniformly() -> None:
    draws = CODES.draw({}, 12_000, torch.Generator().manual_seed(0))
    assert (draws["categorical"].shape, draws["continuous"].shape) == ((12_000, 2), (12_000, 3))
    for code, values in enumerate(CODES.categorical):
        shares = draws["categorical"][:, code].bincount(minlength=values) / 12_000
        torch.testing.assert_close(shares, torch.full((values,), 1 / values), rtol=0, atol=0.02)
    assert draws["continuous"].abs().max() <= 1
    quarters = [torch.histc(number, bins=4, min=-1, max=1) / 12_000 for number in draws["continuous"].T]
    torch.testing.assert_close(torch.stack(quarters), torch.full((3, 4), 0.25), rtol=0, atol=0.02)


def test_codes_are_independent() -> None:
    draws = CODES.draw({}, 12_000, torch.Generator().manual_seed(0))
    correlations = torch.corrcoef(torch.cat([draws["categorical"].float(), draws["continuous"]], dim=1).T)
    assert (correlations - torch.eye(5)).abs().max() < 0.04


def test_the_vector_is_each_category_as_one_hot_and_then_the_numbers() -> None:
    draws = {"categorical": torch.tensor([[1, 2]]), "continuous": torch.tensor([[0.5, -1, 0]])}
    assert CODES.vector(draws).tolist() == [[0, 1, 0, 0, 0, 0, 1, 0.5, -1, 0]]
    assert CODES.size(INFO) == 10


def test_a_tick_sweeps_one_number_at_a_time_in_a_row_for_each_value_of_the_first_code() -> None:
    shown = CODES.showcase(INFO, 5, torch.Generator().manual_seed(0))
    assert shown.columns == 3 * 7
    categorical = shown.draws["categorical"].view(4, 21, 2)
    assert categorical[:, :, 0].tolist() == [[row] * 21 for row in range(4)]
    assert not categorical[:, :, 1].any()
    continuous = shown.draws["continuous"].view(4, 3, 7, 3)
    for number in range(3):
        torch.testing.assert_close(continuous[:, number, :, number], torch.linspace(-1, 1, 7).expand(4, -1))
        others = [other for other in range(3) if other != number]
        assert not continuous[:, number][:, :, others].any()
    assert len(shown.latents.unique(dim=0)) == 1


def test_a_card_without_an_evaluation_has_codes_without_names() -> None:
    card = CODES.card(INFO, None)
    assert [(code.id, code.name, len(code.values)) for code in card.categorical_codes] == [("k1", "", 4), ("k2", "", 3)]
    assert [(code.id, code.min, code.max) for code in card.continuous_codes] == [(f"c{n}", -1, 1) for n in (1, 2, 3)]


def test_a_card_says_what_an_evaluation_found() -> None:
    condition = CodesCondition(categorical=(2,), continuous=(1,))
    found = Codes(
        categorical=(CodeValues(name="digit", values=("one", "seven"), recalls=(0.9, None)),),
        continuous=(CodeNumber(name="slant", correlations={"slant": 0.8}),),
    )
    card = condition.card(INFO, found)
    (code,), (number,) = card.categorical_codes, card.continuous_codes
    assert (code.name, [(one.index, one.name) for one in code.values]) == ("digit", [(0, "one"), (1, "seven")])
    assert [one.HasField("recall") for one in code.values] == [True, False]
    assert (number.name, dict(number.correlations)) == ("slant", {"slant": pytest.approx(0.8)})
