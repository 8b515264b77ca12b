"""Which pictures a data set has: balanced, each with a seed of its own, and the same however the set is made."""

import re
from collections import Counter
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.v1 import models_pb2
from services.batch.sample_plan import CALL_PICTURES, DataSet, plan_data_set, safe_folder
from services.batch.shards import Shard
from services.worker.inputs import fill_in_graphs
from tests.archives import tiny_card, tiny_code_card, tiny_translation_card, tiny_unconditional_card


def card_of(*names: str) -> models_pb2.ModelCard:
    card = tiny_card()
    del card.classes[:]
    card.classes.extend(models_pb2.ClassInfo(id=index, name=name) for index, name in enumerate(names))
    return card


def plan(card: models_pb2.ModelCard, count: int = 12, **options: object) -> DataSet:
    fill_in_graphs(card)
    given = {"seed": 0, "labels": None, "codes": None, "ending": "png"} | options
    return plan_data_set(card, count=count, **given)  # type: ignore[arg-type]


def files(data_set: DataSet) -> dict[str, int]:
    """File → seed of every picture."""
    return {
        data_set.file_of(run.category, number): data_set.seed_of(run.category, number)
        for run in data_set.runs(Shard())
        for number in run.numbers
    }


@given(classes=st.integers(1, 12), extra=st.integers(0, 500), seed=st.integers(0, 2**64 - 1))
def test_every_set_is_whole_and_balanced_and_no_latent_comes_twice(classes: int, extra: int, seed: int) -> None:
    count = classes + extra
    made = files(plan(card_of(*map(str, range(classes))), count, seed=seed))
    assert len(made) == count
    assert len(set(made.values())) == count
    sizes = Counter(file.split("/")[1] for file in made)
    assert len(sizes) == classes
    assert max(sizes.values()) - min(sizes.values()) <= 1


@given(small=st.integers(3, 400), large=st.integers(3, 400))
def test_a_larger_set_holds_the_smaller(small: int, large: int) -> None:
    small, large = sorted((small, large))
    smaller, larger = files(plan(tiny_card(), small)), files(plan(tiny_card(), large))
    assert smaller.items() <= larger.items()


def test_a_class_has_the_same_pictures_without_the_others() -> None:
    every, one = files(plan(tiny_card(), 300)), files(plan(tiny_card(), 100, labels=["square"]))
    assert one == {file: seed for file, seed in every.items() if file.startswith("images/square/")}


@given(count=st.integers(3, 2000), shards=st.integers(1, 5))
def test_shards_divide_the_set(count: int, shards: int) -> None:
    data_set = plan(tiny_card(), count)
    parts = [list(data_set.runs(Shard(index, shards))) for index in range(shards)]
    found = [(run.category.id, run.first, run.count) for run in chain(*parts)]
    assert sorted(found) == sorted((run.category.id, run.first, run.count) for run in data_set.runs(Shard()))


def test_runs_fit_into_a_call() -> None:
    sizes = [run.count for run in plan(tiny_card(), 3 * CALL_PICTURES + 4).runs(Shard())]
    assert sizes == [CALL_PICTURES] * 3 + [2, 1, 1]


def test_seeds_go_round() -> None:
    assert sorted(files(plan(card_of("only"), 3, seed=2**64 - 2)).values()) == [0, 2**64 - 2, 2**64 - 1]


def test_classes_are_asked_for_by_id_and_codes_are_balanced_by_value() -> None:
    assert [category.condition for category in plan(tiny_card()).categories] == [
        {"labels": 0, "codes": None},
        {"labels": 1, "codes": None},
        {"labels": 2, "codes": None},
    ]
    data_set = plan(tiny_code_card(), codes={"slant": 0.5})
    assert [(category.folder, category.condition) for category in data_set.categories] == [
        ("round", {"codes": {"slant": 0.5, "k1": 0}}),
        ("square", {"codes": {"slant": 0.5, "k1": 1}}),
        ("long", {"codes": {"slant": 0.5, "k1": 2}}),
    ]


def test_labels_choose_among_values_of_a_code_too() -> None:
    chosen = plan(tiny_code_card(), labels=["long", "0"]).categories
    assert [category.name for category in chosen] == ["round", "long"]


@pytest.mark.parametrize("held", ["k1", "shape"])
def test_a_code_that_is_held_is_not_balanced(held: str) -> None:
    (only,) = plan(tiny_code_card(), codes={held: 2}).categories
    assert only.folder == "all"
    assert only.condition == {"codes": {held: 2}}


def test_a_model_with_nothing_to_balance_has_one_class_of_all() -> None:
    card = tiny_unconditional_card()
    card.graphs.add(member="model.pt2", inputs=["latent"])
    assert files(plan(card, 2, seed=5)) == {"images/all/00000000.png": 5, "images/all/00000001.png": 6}


def test_a_value_without_a_name_is_called_by_its_index() -> None:
    card = tiny_code_card()
    card.categorical_codes[0].values[1].ClearField("name")
    assert [category.folder for category in plan(card).categories] == ["round", "k1=1", "long"]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("T-shirt/top", "T-shirt%2Ftop"),
        ("Ankle boot", "Ankle boot"),
        ("..", "%2E%2E"),
        (".hidden", "%2Ehidden"),
        ("ends. ", "ends.%20"),
        ("50%", "50%25"),
        ("a:b*c?\\\n", "a%3Ab%2Ac%3F%5C%0A"),
        ("Größe 字", "Größe 字"),
        ("v1.5", "v1.5"),
    ],
)
def test_names_become_safe_folders(name: str, folder: str) -> None:
    assert safe_folder(name) == folder


@given(st.sets(st.text(max_size=6), min_size=1, max_size=6))
def test_no_two_classes_share_a_folder_on_any_system(names: set[str]) -> None:
    folders = [category.folder for category in plan(card_of(*names)).categories]
    for folder in folders:
        assert re.fullmatch(r"[^/\\:*?\"<>|\x00-\x1f]+", folder)
        assert folder[0] not in ". "
        assert folder[-1] not in ". "
    for one, other in combinations(folders, 2):
        assert one.casefold() != other.casefold()


def test_names_that_differ_in_case_alone_carry_their_ids() -> None:
    assert [category.folder for category in plan(card_of("A", "b", "a")).categories] == ["0-A", "1-b", "2-a"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"count": 2}, r"--count must be 3 \(one picture of each class\) to 12884901888, got 2"),
        ({"seed": -1}, r"--seed must be 0 to 2\^64 - 1, got -1"),
        ({"seed": 2**64}, r"--seed must be 0 to 2\^64 - 1"),
        ({"labels": ["triangle"]}, r"--label: model tiny has no class 'triangle'; its classes: 0 'circle', 1 'square'"),
    ],
)
def test_faults_are_named(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        plan(tiny_card(), **options)  # type: ignore[arg-type]


def test_a_translator_makes_no_data_set() -> None:
    with pytest.raises(ValueError, match="model tiny-translation translates pictures; gantry batch translate runs it"):
        plan(tiny_translation_card())
