"""What a model card must say, by kind of model, and what follows from it for whoever runs the model."""

import math
import re
from collections.abc import Iterator, Sequence

from gantry.v1 import models_pb2

MAX_SIDE = 16384
MAX_LATENT_SIZE = 65536
MAX_CONDITION_SIZE = 65536
MAX_MULTIPLE = 256

# A field of the card, whether its value is right, and what is.
Rule = tuple[str, bool, str]
Code = models_pb2.CategoricalCode | models_pb2.ContinuousCode

_CLASSES = models_pb2.MODEL_KIND_CLASS_CONDITIONAL
_CODES = models_pb2.MODEL_KIND_CODE_CONDITIONAL
_TRANSLATION = models_pb2.MODEL_KIND_TRANSLATION

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){2}([-+][0-9A-Za-z.+-]{1,63})?")
_FIGURE_NAME = re.compile(r"[a-z0-9-]{1,63}")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def find_fault(card: models_pb2.ModelCard) -> str:
    """Say what is wrong with a card.

    Args:
        card: The card.

    Returns:
        The first field at fault and what is allowed, in one line; empty where nothing is wrong.
    """
    return next((f"{field}: must be {allowed}" for field, is_right, allowed in _rules(card) if not is_right), "")


def graph_members(card: models_pb2.ModelCard) -> tuple[str, ...]:
    """Return the archive's members that are graphs: one, or that from A to B and that from B to A."""
    return ("a_to_b.pt2", "b_to_a.pt2") if card.kind == _TRANSLATION else ("model.pt2",)


def condition_size(card: models_pb2.ModelCard) -> int:
    """Return the number of values that the graph takes beside a latent; 0 of a translation model."""
    categories = sum(len(code.values) for code in card.categorical_codes)
    return len(card.classes) + categories + len(card.continuous_codes)


def _rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    yield from _identity_rules(card)
    yield from _image_rules(card.image, is_sized=card.kind != _TRANSLATION)
    yield from _class_rules(card.classes) if card.kind == _CLASSES else _absent("classes", card.classes)
    if card.kind == _CODES:
        yield from _code_rules(card)
    else:
        yield from _absent("categorical_codes", card.categorical_codes)
        yield from _absent("continuous_codes", card.continuous_codes)
    if card.kind == _TRANSLATION:
        yield "latent", not card.HasField("latent"), "absent of a model of this kind"
        yield from _translation_rules(card.translation)
    else:
        yield "translation", not card.HasField("translation"), "absent of a model of this kind"
        yield from _latent_rules(card)
    yield from _execution_rules(card.execution, translates=card.kind == _TRANSLATION)
    yield from _figure_rules(card.figures)


def _identity_rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    kinds = (_CLASSES, _CODES, _TRANSLATION)
    yield "name", bool(_NAME.fullmatch(card.name)), "1 to 63 of a-z, 0-9 and '-', beginning with a letter"
    yield "version", bool(_VERSION.fullmatch(card.version)), "a semantic version such as 1.0.0"
    yield "kind", card.kind in kinds, " or ".join(models_pb2.ModelKind.Name(kind) for kind in kinds)


def _absent(field: str, entries: Sequence[object]) -> Iterator[Rule]:
    yield field, not entries, "absent of a model of this kind"


def _image_rules(image: models_pb2.ImageSpec, *, is_sized: bool) -> Iterator[Rule]:
    if is_sized:
        yield "image.width", 1 <= image.width <= MAX_SIDE, f"1 to {MAX_SIDE}"
        yield "image.height", 1 <= image.height <= MAX_SIDE, f"1 to {MAX_SIDE}"
        yield "image.channels", image.channels in (1, 3), "1 or 3"
    else:
        yield "image.width", image.width == 0, "0, since translated pictures have the size of those sent"
        yield "image.height", image.height == 0, "0, since translated pictures have the size of those sent"
        yield "image.channels", image.channels == 3, "3"
    yield "image.value_min", math.isfinite(image.value_min), "finite"
    yield "image.value_max", image.value_min < image.value_max < math.inf, "finite and greater than value_min"


def _class_rules(classes: Sequence[models_pb2.ClassInfo]) -> Iterator[Rule]:
    yield "classes", 1 <= len(classes) <= MAX_CONDITION_SIZE, f"1 to {MAX_CONDITION_SIZE}"
    yield "classes", [known.id for known in classes] == list(range(len(classes))), "numbered from 0 without gaps"
    yield "classes", len({known.name for known in classes if known.name}) == len(classes), "of different names"


def _code_rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    codes: list[Code] = [*card.categorical_codes, *card.continuous_codes]
    yield "categorical_codes", bool(codes), "given, or continuous_codes"
    yield "categorical_codes", condition_size(card) <= MAX_CONDITION_SIZE, f"of {MAX_CONDITION_SIZE} values at most"
    ids, names = [code.id for code in codes], [code.name for code in codes if code.name]
    for number, categorical in enumerate(card.categorical_codes):
        field = f"categorical_codes[{number}]"
        yield f"{field}.id", bool(re.fullmatch(r"k[0-9]{1,5}", categorical.id)), '"k" and a number'
        yield from _unique_rules(field, categorical, ids, names)
        yield from _meaning_rules(f"{field}.values", categorical.values)
    for number, continuous in enumerate(card.continuous_codes):
        field = f"continuous_codes[{number}]"
        yield f"{field}.id", bool(re.fullmatch(r"c[0-9]{1,5}", continuous.id)), '"c" and a number'
        yield from _unique_rules(field, continuous, ids, names)
        yield f"{field}.min", math.isfinite(continuous.min), "finite"
        yield f"{field}.max", continuous.min < continuous.max < math.inf, "finite and greater than min"


def _unique_rules(field: str, code: Code, ids: Sequence[str], names: Sequence[str]) -> Iterator[Rule]:
    # A caller may use either, so a name may be no other code's id.
    other_ids = set(ids) - {code.id}
    yield f"{field}.id", ids.count(code.id) == 1, "unique"
    yield f"{field}.name", names.count(code.name) <= 1 and code.name not in other_ids, "unique, and no other code's id"


def _meaning_rules(field: str, values: Sequence[models_pb2.CodeMeaning]) -> Iterator[Rule]:
    names = [value.name for value in values if value.name]
    yield field, len(values) >= 2, "at least two"
    yield field, [value.index for value in values] == list(range(len(values))), "indexed from 0 without gaps"
    yield field, len(set(names)) == len(names), "of different names"


def _latent_rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    normal = models_pb2.LATENT_DISTRIBUTION_NORMAL
    yield "latent.size", 1 <= card.latent.size <= MAX_LATENT_SIZE, f"1 to {MAX_LATENT_SIZE}"
    yield "latent.distribution", card.latent.distribution == normal, "LATENT_DISTRIBUTION_NORMAL"


def _translation_rules(translation: models_pb2.TranslationSpec) -> Iterator[Rule]:
    domains = (translation.domain_a, translation.domain_b)
    yield "translation.domain_a", bool(domains[0]), "given"
    yield "translation.domain_b", bool(domains[1]) and domains[0] != domains[1], "given, and not domain_a"
    yield "translation.multiple", 1 <= translation.multiple <= MAX_MULTIPLE, f"1 to {MAX_MULTIPLE}"


def _execution_rules(execution: models_pb2.ExecutionSpec, *, translates: bool) -> Iterator[Rule]:
    if translates:
        yield "execution.chunk_items", execution.chunk_items == 1, "1, since pictures differ in size"
    else:
        yield "execution.chunk_items", 1 <= execution.chunk_items <= 64, "1 to 64"
        yield "execution.bfloat16", not execution.bfloat16, "false of a model of this kind"
    yield "execution.max_batch_items", 1 <= execution.max_batch_items <= 1024, "1 to 1024"


def _figure_rules(figures: Sequence[models_pb2.Figure]) -> Iterator[Rule]:
    names = [figure.name for figure in figures]
    for number, figure in enumerate(figures):
        field = f"figures[{number}]"
        yield f"{field}.name", bool(_FIGURE_NAME.fullmatch(figure.name)), "1 to 63 of a-z, 0-9 and '-'"
        yield f"{field}.name", names.count(figure.name) == 1, "unique"
        yield f"{field}.png", figure.png.startswith(_PNG_MAGIC), "a PNG"
