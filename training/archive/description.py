"""Read card.yaml: what the owner of a generator says it takes and gives, small and forgiving.

`inputs` lists the arguments of the generator's `forward` in their order, each by one word:

    latent: 64                                   float32 [B, 64]; `latent: [64, 1, 1]` for [B, 64, 1, 1]
    class: [cat, dog]                            one-hot, float32 [B, 2]; with `form: index` int64 [B]
    categorical: {name: shape, values: 3}        a code, given as a class is
    continuous: {name: slant, min: -1, max: 1}   a code, float32 [B, 1]
    attribute: {name: age, min: 18, max: 80}     float32 [B, 1]
    picture: {source: sketch, target: photo}     float32 [1, 3, H, W]; stands alone
"""

from math import prod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from gantry.v1 import models_pb2
from training.archive.package import ArchivingError

_Name = Annotated[str, Field(min_length=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)

    short: ClassVar[str] = ""
    """The field that is meant where a value stands in place of the entry."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return {cls.short: given} if cls.short else given
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if unknown := [str(key) for key in given if key not in known]:
            raise ValueError(f"has no {', '.join(unknown)}; it may have {', '.join(known)}")
        return given


class Latent(_Entry):
    """Independent standard normal values."""

    short = "shape"
    shape: Annotated[
        tuple[PositiveInt, ...], BeforeValidator(lambda given: [given] if isinstance(given, int) else given)
    ]


class Class(_Entry):
    """One of a few values, told by their names or their number."""

    short = "values"
    values: Annotated[
        tuple[_Name, ...], BeforeValidator(lambda given: list(range(given)) if isinstance(given, int) else given)
    ]
    form: Literal["one-hot", "index"] = "one-hot"


class Categorical(Class):
    """A code with a few values."""

    name: str = ""


class Continuous(_Entry):
    """A code that is a number."""

    short = "name"
    name: str = ""
    min: float = -1.0
    max: float = 1.0

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min >= self.max:
            raise ValueError(f"max must be greater than min, got {self.min:g} to {self.max:g}")
        return self


class Attribute(Continuous):
    """A number with a meaning."""

    short = ""
    name: _Name
    min: float
    max: float
    description: str = ""


class Picture(_Entry):
    """A picture of one domain, which becomes one of the other."""

    source: _Name
    target: _Name
    multiple: Annotated[int, Field(ge=1, le=256)] = 1
    trained_side: Annotated[int, Field(ge=0)] = 0


class Argument(_Entry):
    """One argument of `forward`: a word, and what it stands for."""

    latent: Latent | None = None
    label: Class | None = Field(default=None, alias="class")
    categorical: Categorical | None = None
    continuous: Continuous | None = None
    attribute: Attribute | None = None
    picture: Picture | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.entries) != 1:
            raise ValueError("must be one of latent, class, categorical, continuous, attribute and picture")
        return self

    @property
    def entries(self) -> list[Any]:
        """What is given: one entry."""
        return [entry for entry in dict(self).values() if entry is not None]


class Pictures(_Entry):
    """The pictures that a generator makes, and for a translation those that it takes."""

    width: PositiveInt | None = None
    height: PositiveInt | None = None
    channels: Literal[1, 3] = 3
    range: tuple[float, float] = (-1.0, 1.0)

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.range[0] >= self.range[1]:
            raise ValueError("range must be the values of black and of full intensity, such as [-1, 1]")
        return self


class Description(_Entry):
    """A card.yaml."""

    inputs: Annotated[tuple[Argument, ...], Field(min_length=1)]
    image: Pictures = Pictures()
    description: str = ""
    licence: str = ""
    trained_on: str = ""
    arguments: dict[str, Any] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        kinds = [type(entry) for entry in self.entries]
        if kinds.count(Latent) + kinds.count(Picture) != 1 or kinds.count(Class) > 1:
            raise ValueError("inputs must have one latent or one picture, and one class at most")
        sized = (self.image.width is not None, self.image.height is not None)
        if Picture in kinds and (len(kinds) > 1 or any(sized) or self.image.channels != 3):
            raise ValueError("inputs: a picture stands alone; what it becomes has its size, and 3 channels as it has")
        if Latent in kinds and not all(sized):
            raise ValueError("image must have width and height")
        return self

    @property
    def entries(self) -> list[Any]:
        """The arguments of `forward`, in their order."""
        return [entry for argument in self.inputs for entry in argument.entries]

    def card(self, name: str, version: str) -> models_pb2.ModelCard:
        """Return the card of a model of this name and version, with its one graph."""
        card = models_pb2.ModelCard(
            name=name,
            version=version,
            description=self.description,
            training_data=models_pb2.TrainingData(name=self.trained_on, licence=self.licence),
            git_commit="unknown",
        )
        card.image.channels = self.image.channels
        card.image.width, card.image.height = self.image.width or 0, self.image.height or 0
        card.image.value_min, card.image.value_max = self.image.range
        names = [_add(card, entry) for entry in self.entries]
        # A graph takes the latent first; the sort keeps the order of the others.
        names.sort(key=lambda name: name not in ("latent", "picture"))
        translates = card.HasField("translation")
        card.graphs.add(
            member="a_to_b.pt2" if translates else "model.pt2",
            inputs=names,
            source_domain=card.translation.domain_a,
            target_domain=card.translation.domain_b,
        )
        return card


def _add(card: models_pb2.ModelCard, entry: Any) -> str:
    """Describe an input in a card and return its name there."""
    match entry:
        case Latent():
            card.latent.size, card.latent.distribution = prod(entry.shape), models_pb2.LATENT_DISTRIBUTION_NORMAL
            return "latent"
        case Picture():
            card.translation.CopyFrom(
                models_pb2.TranslationSpec(
                    domain_a=entry.source,
                    domain_b=entry.target,
                    multiple=entry.multiple,
                    trained_side=entry.trained_side,
                )
            )
            return "picture"
        case Categorical():
            values = [models_pb2.CodeMeaning(index=index, name=name) for index, name in enumerate(entry.values)]
            code_id = f"k{len(card.categorical_codes) + 1}"
            card.categorical_codes.add(id=code_id, name=entry.name, values=values)
            return code_id
        case Class():
            card.classes.extend(models_pb2.ClassInfo(id=index, name=name) for index, name in enumerate(entry.values))
            return "class"
        case Attribute():
            card.attributes.add(**entry.model_dump())
            return entry.name
        case _:
            code_id = f"c{len(card.continuous_codes) + 1}"
            card.continuous_codes.add(id=code_id, **entry.model_dump())
            return code_id


def read_description(path: Path) -> Description:
    """Read a card.yaml.

    Raises:
        ArchivingError: It cannot be read, or a field has a value that is not allowed; the message names it.
    """
    try:
        return Description.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        # What a union of types or a wrong order of them would say comes to the same field.
        faults = {".".join(map(str, one["loc"])): one["msg"].removeprefix("Value error, ") for one in error.errors()}
        told = "; ".join(f"{field}: {fault}" if field else fault for field, fault in faults.items())
        raise ArchivingError(f"--card {path}: {told}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ArchivingError(f"--card {path}: line {line} is not YAML: {error.problem}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArchivingError(f"--card {path}: cannot be read: {error}") from error
