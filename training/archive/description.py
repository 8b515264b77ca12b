"""Read card.yaml, which docs/own-generator.md describes: what an owner says that a generator takes and gives."""

from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, Field, PositiveInt, ValidationError, model_validator

from gantry.v1 import models_pb2
from training.archive.package import ArchivingError

# The words, with the fields that each needs and may have; a value in place of fields is that of the first.
_WORDS = {
    "latent": (["shape"], []),
    "class": (["values"], ["form"]),
    "categorical": (["values"], ["name", "form"]),
    "continuous": ([], ["name", "min", "max"]),
    "attribute": (["name", "min", "max"], ["description"]),
    "picture": (["source", "target"], ["multiple", "trained_side"]),
}
_Shape = Annotated[tuple[PositiveInt, ...], BeforeValidator(lambda given: [given] if isinstance(given, int) else given)]
_Names = Annotated[tuple[str, ...], BeforeValidator(lambda given: range(given) if isinstance(given, int) else given)]


class _Fields(BaseModel, coerce_numbers_to_str=True, allow_inf_nan=False):
    @model_validator(mode="before")
    @classmethod
    def _are_known(cls, given: Any) -> Any:
        for key in given if isinstance(given, dict) else [given]:
            if str(key) not in cls.model_fields:
                raise ValueError(f"unknown field {key}; it may have {', '.join(cls.model_fields)}")
        return given


class Argument(BaseModel, coerce_numbers_to_str=True, allow_inf_nan=False):
    """An argument of `forward`: its word, and the fields that go with it."""

    word: str
    shape: _Shape = ()
    values: Annotated[_Names, Field(min_length=1)] = ()
    form: Literal["one-hot", "index"] = "one-hot"
    name: str = ""
    min: float = -1.0
    max: float = 1.0
    description: str = ""
    source: str = ""
    target: str = ""
    multiple: Annotated[int, Field(ge=1, le=256)] = 1
    trained_side: PositiveInt = 0

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        word, fields = next(iter(given.items())) if isinstance(given, dict) and len(given) == 1 else ("", None)
        if word not in _WORDS:
            raise ValueError(f"must be one of {', '.join(_WORDS)}, and what it stands for")
        needed, others = _WORDS[word]
        fields = fields if isinstance(fields, dict) else {[*needed, *others][0]: fields}
        if not set(needed) <= set(fields) <= {*needed, *others}:
            needs, may = ", ".join(needed) or "nothing", ", ".join(others) or "nothing else"
            raise ValueError(f"{word} needs {needs}, and may have {may}")
        return {"word": word, **fields}

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if len(set(self.values)) < len(self.values):
            raise ValueError("values must have different names")
        if self.min >= self.max:
            raise ValueError(f"max must be greater than min, got {self.min:g} to {self.max:g}")
        return self


class ImageFields(_Fields):
    """The pictures that a generator makes, and for a translation those that it takes."""

    width: PositiveInt = 0
    height: PositiveInt = 0
    channels: Literal[1, 3] = 3
    range: tuple[float, float] = (-1.0, 1.0)


class CardFile(_Fields):
    """A card.yaml."""

    inputs: Annotated[list[Argument], Field(min_length=1)]
    image: ImageFields = ImageFields()
    description: str = ""
    licence: str = ""
    trained_on: str = ""
    arguments: dict[str, Any] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        words = [one.word for one in self.inputs]
        sides = (self.image.width, self.image.height)
        if words.count("latent") + words.count("picture") != 1 or words.count("class") > 1:
            raise ValueError("inputs must have one latent or one picture, and one class at most")
        if "picture" in words and (len(words) > 1 or any(sides) or self.image.channels != 3):
            raise ValueError("inputs: a picture stands alone; what it becomes has its size, and 3 channels as it has")
        if "latent" in words and not all(sides):
            raise ValueError("image must have width and height")
        if self.image.range[0] >= self.image.range[1]:
            raise ValueError("image.range must be the values of black and of full intensity, such as [-1, 1]")
        return self

    def card(self, name: str, version: str) -> tuple[models_pb2.ModelCard, list[str]]:
        """Return the card of a model of this name and version, and what it calls `inputs`, in their order."""
        (low, high), sizes = self.image.range, self.image.model_dump(exclude={"range"})
        card = models_pb2.ModelCard(
            name=name,
            version=version,
            description=self.description,
            image=models_pb2.ImageSpec(value_min=low, value_max=high, **sizes),
            training_data=models_pb2.TrainingData(name=self.trained_on, licence=self.licence),
            git_commit="unknown",
        )
        return card, [_add(card, one) for one in self.inputs]


def _add(card: models_pb2.ModelCard, given: Argument) -> str:
    """Describe an input in a card and return its name there."""
    number = {"name": given.name, "min": given.min, "max": given.max}
    match given.word:
        case "latent":
            card.latent.size, card.latent.distribution = prod(given.shape), models_pb2.LATENT_DISTRIBUTION_NORMAL
        case "class":
            card.classes.extend(models_pb2.ClassInfo(id=index, name=name) for index, name in enumerate(given.values))
        case "categorical":
            values = [models_pb2.CodeMeaning(index=index, name=name) for index, name in enumerate(given.values)]
            code_id = f"k{len(card.categorical_codes) + 1}"
            return card.categorical_codes.add(id=code_id, name=given.name, values=values).id
        case "continuous":
            return card.continuous_codes.add(id=f"c{len(card.continuous_codes) + 1}", **number).id
        case "attribute":
            return card.attributes.add(description=given.description, **number).name
        case "picture":
            card.translation.domain_a, card.translation.domain_b = given.source, given.target
            card.translation.multiple, card.translation.trained_side = given.multiple, given.trained_side
    return given.word


def read_description(path: Path) -> CardFile:
    """Read a card.yaml.

    Raises:
        ArchivingError: It cannot be read, or a field has a value that is not allowed; the message names it.
    """
    try:
        return CardFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        # What a union of types or a wrong order of them would say comes to the same field.
        faults = {".".join(map(str, one["loc"])): one["msg"].removeprefix("Value error, ") for one in error.errors()}
        told = "; ".join(f"{field}: {fault}" if field else fault for field, fault in faults.items())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        told = f"line {line} is not YAML: {error.problem}"
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
    raise ArchivingError(f"--card {path}: {told}")
