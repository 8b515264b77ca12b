"""The card is one message in two forms: what JSON holds comes back from it."""

import json

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from gantry.v1 import models_pb2

FULL = models_pb2.ModelCard(
    name="mnist-cgan",
    version="1.0.0",
    kind=models_pb2.MODEL_KIND_CLASS_CONDITIONAL,
    description="Digits — „Ziffern“.",
    image=models_pb2.ImageSpec(width=28, height=28, channels=1, value_min=-1, value_max=1),
    classes=[models_pb2.ClassInfo(id=0, name="zero"), models_pb2.ClassInfo(id=1, name="eins")],
    latent=models_pb2.LatentSpec(size=64, distribution=models_pb2.LATENT_DISTRIBUTION_NORMAL),
    execution=models_pb2.ExecutionSpec(chunk_items=8, max_batch_items=64),
    training_data=models_pb2.TrainingData(name="mnist", split="train", images=2**40, licence="CC BY-SA 3.0"),
    training_config='{"steps": 10}',
    evaluation=models_pb2.Evaluation(
        metrics=[models_pb2.Metric(name="coverage", value=0.1, reference=0.0), models_pb2.Metric(name="fd", value=3)],
        protocol={"split": "test"},
    ),
    library_versions={"torch": "2.13.0"},
    git_commit="0" * 40,
    member_sha256={"model.pt2": "a" * 64},
    categorical_codes=[
        models_pb2.CategoricalCode(
            id="k1", name="digit", values=[models_pb2.CodeMeaning(index=0, name="seven", recall=0.0)]
        )
    ],
    continuous_codes=[models_pb2.ContinuousCode(id="c1", name="slant", min=-1, max=1, correlations={"slant": 0.5})],
    translation=models_pb2.TranslationSpec(domain_a="horse", domain_b="zebra", multiple=4, trained_side=128),
    figures=[models_pb2.Figure(name="traversal-c1", description="A sweep.", png=b"\x89PNG")],
    graphs=[
        models_pb2.Graph(member="model.pt2", inputs=["latent", "class", "k1", "c1", "smile"]),
        models_pb2.Graph(member="a_to_b.pt2", inputs=["picture"], source_domain="horse", target_domain="zebra"),
    ],
    attributes=[models_pb2.Attribute(name="smile", description="How much it smiles.", min=0, max=1)],
)
FULL.created.FromJsonString("2026-01-02T03:04:05Z")


def to_json(card: models_pb2.ModelCard) -> str:
    return json_format.MessageToJson(card, preserving_proto_field_name=True)


def test_a_full_card_comes_back() -> None:
    assert json_format.Parse(to_json(FULL), models_pb2.ModelCard()) == FULL


def test_every_field_is_in_the_example() -> None:
    """So that a new field is not forgotten above."""
    assert {field.name for field, _ in FULL.ListFields()} == {field.name for field in FULL.DESCRIPTOR.fields}
    assert set(json.loads(to_json(FULL))) == {field.name for field in FULL.DESCRIPTOR.fields}


def test_a_reference_of_zero_is_not_an_absent_one() -> None:
    given, absent = json_format.Parse(to_json(FULL), models_pb2.ModelCard()).evaluation.metrics
    assert given.HasField("reference")
    assert not absent.HasField("reference")


def test_enums_and_times_are_readable() -> None:
    card = json.loads(to_json(FULL))
    assert (card["kind"], card["created"]) == ("MODEL_KIND_CLASS_CONDITIONAL", "2026-01-02T03:04:05Z")


@pytest.mark.parametrize("text", ['{"surprise": 1}', '{"kind": "MODEL_KIND_TELEPATHIC"}', '{"image": {"width": 1.5}}'])
def test_what_the_message_does_not_hold_is_an_error(text: str) -> None:
    with pytest.raises(json_format.ParseError):
        json_format.Parse(text, models_pb2.ModelCard())


_LIMITS = st.floats(-(2.0**64), 2.0**64, width=32)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@given(
    name=_TEXT,
    classes=st.lists(st.tuples(st.integers(0, 2**32 - 1), _TEXT), max_size=3),
    # Not up to the largest float32: protobuf's JSON rounds that one up to what it then refuses to read.
    limits=st.tuples(_LIMITS, _LIMITS),
    metric=st.floats(allow_nan=False),
    digests=st.dictionaries(_TEXT, _TEXT, max_size=3),
    images=st.integers(0, 2**64 - 1),
)
def test_any_card_comes_back(
    name: str,
    classes: list[tuple[int, str]],
    limits: tuple[float, float],
    metric: float,
    digests: dict[str, str],
    images: int,
) -> None:
    card = models_pb2.ModelCard(
        name=name,
        image=models_pb2.ImageSpec(value_min=limits[0], value_max=limits[1]),
        classes=[models_pb2.ClassInfo(id=number, name=text) for number, text in classes],
        evaluation=models_pb2.Evaluation(metrics=[models_pb2.Metric(name=name, value=metric)]),
        training_data=models_pb2.TrainingData(images=images),
        member_sha256=digests,
    )
    assert json_format.Parse(to_json(card), models_pb2.ModelCard()) == card
