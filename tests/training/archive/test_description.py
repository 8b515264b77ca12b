"""A card.yaml is read forgivingly, and what is wrong in it is named by its field."""

import re
from pathlib import Path

import pytest

from gantry.v1 import models_pb2
from training.archive.description import read_description
from training.archive.package import ArchivingError

IMAGE = "image: {width: 8, height: 8}\n"
PICTURE = "picture: {source: a, target: b}"


def read(folder: Path, text: str):
    (folder / "card.yaml").write_text(text)
    return read_description(folder / "card.yaml")


def test_codes_are_numbered_in_the_order_of_their_kind(tmp_path: Path) -> None:
    inputs = (
        "inputs: [continuous: slant, categorical: {name: digit, values: 3}, latent: 4, continuous: {min: 0, max: 2}]"
    )
    card, names = read(tmp_path, IMAGE + inputs).card("mine", "1.0.0")
    assert names == ["c1", "k1", "latent", "c2"]
    assert [(code.id, code.name, code.min, code.max) for code in card.continuous_codes] == [
        ("c1", "slant", -1, 1),
        ("c2", "", 0, 2),
    ]
    assert [value.name for value in card.categorical_codes[0].values] == ["0", "1", "2"]
    assert card.image == models_pb2.ImageSpec(width=8, height=8, channels=3, value_min=-1, value_max=1)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("image: 4\ninputs: [latent: 4]", "image: unknown field 4; it may have width, height"),
        ("inputs: [", "line 1 is not YAML"),
        ("inputs: [latent: 4", "line 1 is not YAML"),
        ("4", "unknown field 4; it may have inputs, image, description"),
        ("", "inputs: Field required"),
        (IMAGE, "inputs: Field required"),
        (IMAGE + "inputs: [latent: 4, class: {values: 2, value: 3}]", "class needs values, and may have form"),
        (IMAGE + "inputs: [latent: 4, class: 0]", r"inputs\.1\.values: .*at least 1 item"),
        ("[1, 2]", "it may have inputs, image, description"),
        (IMAGE + "inputs: []", "inputs: .* at least 1 item"),
        (IMAGE + "inputs: [latent: 0]", r"inputs\.0\.shape\.0: .*greater than 0"),
        (IMAGE + "inputs: [latent: many]", r"inputs\.0\.shape: "),
        (IMAGE + "inputs: [noise: 4]", r"inputs\.0: must be one of latent, class, categorical"),
        (IMAGE + "inputs: [{latent: 4, class: 2}]", r"inputs\.0: must be one of latent, class,"),
        (IMAGE + "inputs: [class: 2]", "inputs must have one latent or one picture"),
        (IMAGE + "inputs: [latent: 4, class: 2, class: 3]", "line 2 is not YAML|one class at most"),
        (IMAGE + "inputs: [latent: 4, class: [yes, no]]", r"inputs\.1\.values\.0: .*valid string"),
        (IMAGE + "inputs: [latent: 4, class: [a, a, b]]", r"inputs\.1: values must have different names"),
        (IMAGE + "inputs: [latent: 4, class: {values: 2, form: onehot}]", r"inputs\.1\.form: .*'one-hot' or"),
        (
            IMAGE + "inputs: [latent: 4, attribute: {name: age}]",
            r"inputs\.1: attribute needs name, min, max",
        ),
        (
            IMAGE + "inputs: [latent: 4, attribute: {name: age, min: 2, max: 1}]",
            r"inputs\.1: max must be greater than min, got 2 to 1",
        ),
        ("inputs: [latent: 4]", "image must have width and height"),
        ("image: {width: 4, height: 4, channels: 2}\ninputs: [latent: 4]", r"image\.channels: .*1 or 3"),
        (
            "image: {width: 4, height: 4, range: [1, -1]}\ninputs: [latent: 4]",
            r"image\.range must be the values",
        ),
        (IMAGE + f"inputs: [{PICTURE}]", "a picture stands alone"),
        (f"inputs: [{PICTURE}, class: 2]", "a picture stands alone"),
        (f"author: me\ninputs: [{PICTURE}]", "unknown field author; it may have inputs, image, description"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ArchivingError, match=f"^--card .*card.yaml: .*({fault})") as refusal:
        read(tmp_path, text)
    assert "\n" not in str(refusal.value)
    assert not re.search("Image|Description", str(refusal.value))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchivingError, match=r"^--card .*none\.yaml: cannot be read: "):
        read_description(tmp_path / "none.yaml")
