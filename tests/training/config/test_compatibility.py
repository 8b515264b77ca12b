"""What does not go together is refused, by the flags that mend it."""

import re

import pytest

from tests.training.tiny import attribute_gan, gan, label_gan
from training.config import ConfigError
from training.config.compatibility import CONTRADICTIONS, REMEDIES, find_fault
from training.objectives import OBJECTIVES, Objective
from training.terms import TERMS

BRINGS = {
    "batch norm": {"discriminator__norm": "batch"},
    "spectral norm": {"discriminator__norm": "spectral"},
    "gradient penalty": {"terms__gradient_penalty__weight": 10},
    "clipped weights": {"discriminator__clip": 0.01},
    "slope of an image": {"terms__r1__weight": 10},
    "minibatch discrimination": {"discriminator__minibatch": 4},
    "normal weights": {"discriminator__init": "normal"},
    "concatenated condition": {"condition__kind": "label", "discriminator__concat": True},
    "projection": {"condition__kind": "label", "discriminator__projection": True},
    "several outcomes": {"objective": "realness"},
    "classifier": {"condition__kind": "label", "terms__classifier__weight": 0.2},
    "regressor": {"condition__kind": "attributes", "terms__attributes__weight": 1},
}
"""What brings each thing of `CONTRADICTIONS`."""

PLAIN = {"discriminator__norm": "none"}

NEEDED_BY = {"label input": "label", "attribute input": "attributes", "information": "codes"}
"""The conditions that need something of the nets or terms."""


def alternatives(message: str) -> list[dict[str, str]]:
    """The flags that a message offers: those joined by "and" belong together."""
    offered = message.rpartition("--set ")[2]
    choices = [re.findall(r"([\w.]+)=([\w.,]*\w)", choice) for choice in re.split(r",? or |, (?=\w+\.)", offered)]
    return [dict(choice) for choice in choices if choice]


def fault(**settings) -> str:
    """What is said of settings; nothing where they go together."""
    try:
        gan(**settings)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("pair", CONTRADICTIONS)
def test_each_of_a_contradictory_pair_goes_without_the_other(pair: tuple[str, str]) -> None:
    for one in pair:
        config = {**PLAIN, **BRINGS[one]}
        gan(**config | ({"discriminator__projection": True} if config.get("condition__kind") else {}))


@pytest.mark.parametrize("pair", CONTRADICTIONS)
def test_a_contradictory_pair_is_refused_and_each_flag_of_the_message_mends_it(pair: tuple[str, str]) -> None:
    settings = {**PLAIN, **BRINGS[pair[0]], **BRINGS[pair[1]]}
    said = fault(**settings)
    assert said == CONTRADICTIONS[pair]
    offered = alternatives(said)
    assert len(offered) >= 2
    other_way = {"discriminator__projection": True} if "concatenated condition" in pair else {}
    for changes in offered:
        gan(**settings | other_way | changes)


@pytest.mark.parametrize("need", REMEDIES)
def test_what_an_objective_needs_is_asked_for_and_each_flag_of_the_message_brings_it(need: str, monkeypatch) -> None:
    known = OBJECTIVES["hinge"]
    wanting = Objective(known.discriminator, known.generator, line="", paper="", needs=frozenset({need}))
    monkeypatch.setitem(OBJECTIVES, "wanting", wanting)
    lacking = {**PLAIN, "objective": "wanting"}
    if need in NEEDED_BY:  # which is first needed by its condition
        lacking["condition__kind"] = NEEDED_BY[need]
    said = fault(**lacking)
    assert said == f"{lacking_setting(need)} needs {need}, which nothing provides: {REMEDIES[need]}"
    offered = alternatives(said)
    assert offered
    for changes in offered:
        assert f"needs {need}," not in fault(**lacking | changes)  # something else may be wanting now


def lacking_setting(need: str) -> str:
    return f"condition {NEEDED_BY[need]}" if need in NEEDED_BY else "--set objective=wanting"


@pytest.mark.parametrize("name", TERMS)
def test_what_a_term_needs_is_asked_for(name: str) -> None:
    needs = TERMS[name].needs
    assert needs <= REMEDIES.keys()
    settings = {**PLAIN, "objective": "hinge", f"terms__{name}__weight": 0.3}
    if needs:
        (need,) = needs
        assert (
            fault(**settings) == f"--set terms.{name}.weight=0.3 needs {need}, which nothing provides: {REMEDIES[need]}"
        )
    else:
        assert name in gan(**settings).terms_of()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_an_objective_of_the_table_needs_can_be_had(name: str) -> None:
    assert OBJECTIVES[name].needs <= REMEDIES.keys()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_of_several_outcomes_says_so(name: str) -> None:
    assert (OBJECTIVES[name].outcomes != 1) is ("several outcomes" in OBJECTIVES[name].provides)


@pytest.mark.parametrize("way", ["concat", "projection"])
def test_a_discriminator_that_looks_at_labels_or_attributes_needs_them(way: str) -> None:
    said = fault(**{f"discriminator__{way}": True})
    assert said.startswith("--set discriminator.concat or discriminator.projection needs label or attributes, which")
    for kind in ("label", "attributes"):
        gan(condition__kind=kind, **{f"discriminator__{way}": True})


@pytest.mark.parametrize(
    ("settings", "lacking"),
    [
        ({}, "attribute input"),
        ({"terms__attributes__weight": 1}, "label input"),
        ({"terms__classifier__weight": 1}, "attribute input"),
        ({"terms__attributes__weight": 1, "condition__classes": False}, None),
        ({"terms__attributes__weight": 1, "terms__classifier__weight": 1}, None),
        ({"terms__attributes__weight": 1, "discriminator__projection": True}, None),
    ],
)
def test_both_class_and_attributes_must_reach_the_discriminator(settings, lacking: str | None) -> None:
    said = fault(condition__kind="attributes", **settings)
    assert said.startswith(f"condition attributes needs {lacking}, which nothing provides: ") if lacking else not said


def test_a_classifier_needs_the_class_beside_the_attributes() -> None:
    attribute_gan(terms__classifier__weight=1)
    with pytest.raises(ConfigError, match=r"--set terms\.classifier\.weight=1 needs label, which nothing provides"):
        attribute_gan(terms__classifier__weight=1, condition__classes=False)


@pytest.mark.parametrize("norm", ["spectral", "none", "batch", "layer"])
def test_the_label_may_enter_by_any_way_alone(norm: str) -> None:
    for way in ({"discriminator__concat": True}, {"discriminator__projection": True}, BRINGS["classifier"]):
        label_gan(
            **{"discriminator__concat": False, "discriminator__projection": False, "discriminator__norm": norm} | way
        )


def test_a_term_without_weight_needs_and_contradicts_nothing() -> None:
    gan(discriminator__norm="batch", terms__gradient_penalty__weight=0, terms__classifier__weight=0)


def test_nothing_is_wrong_with_what_goes_together() -> None:
    assert find_fault({"lipschitz": "--set objective=x"}, frozenset({"lipschitz", "spectral norm"})) is None
