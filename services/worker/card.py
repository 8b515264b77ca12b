"""What a model card must say: its graphs, their inputs, and all that it describes of these."""

import math
import re
from collections.abc import Iterator, Sequence

from gantry.v1 import models_pb2
from services.worker.inputs import (
    CLASS,
    LATENT,
    PICTURE,
    Code,
    codes_of,
    condition_bounds,
    described_inputs,
    kind_of,
    takes,
)

MAX_SIDE = 16384
MAX_LATENT_SIZE = 65536
MAX_CONDITION_SIZE = 65536
MAX_MULTIPLE = 256

# A field of the card, whether its value is right, and what is.
Rule = tuple[str, bool, str]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){2}([-+][0-9A-Za-z.+-]{1,63})?")
# Shorter, since the keys of a PNG's text chunks hold it.
_ATTRIBUTE_NAME = re.compile(r"[a-z][a-z0-9-]{0,47}")
_MEMBER = re.compile(r"[a-z0-9_]{1,63}\.pt2")
_FIGURE_NAME = re.compile(r"[a-z0-9-]{1,63}")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# What inputs and coordinates are called that no attribute may be called.
_RESERVED = frozenset({CLASS, LATENT, PICTURE, "position", "term"})


def find_fault(card: models_pb2.ModelCard) -> str:
    """Say what is wrong with a card.

    Args:
        card: The card.

    Returns:
        The first field at fault and what is allowed, in one line; empty where nothing is wrong.
    """
    return next((f"{field}: must be {allowed}" for field, is_right, allowed in _rules(card) if not is_right), "")


def _rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    translates = takes(card, PICTURE)
    yield from _identity_rules(card)
    yield from _image_rules(card.image, is_sized=not translates)
    yield from _code_rules(card)
    yield from _attribute_rules(card)
    yield from _graph_rules(card)
    yield from _class_rules(card.classes) if takes(card, CLASS) else _absent("classes", not card.classes, CLASS)
    if translates:
        yield from _absent("latent", not card.HasField("latent"), LATENT)
        yield from _translation_rules(card)
    else:
        yield from _absent("translation", not card.HasField("translation"), PICTURE)
        yield from _latent_rules(card)
    yield "kind", card.kind == kind_of(card), f"{models_pb2.ModelKind.Name(kind_of(card))}, as the inputs say"
    yield from _execution_rules(card.execution, translates=translates)
    yield from _figure_rules(card.figures)


def _identity_rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    yield "name", bool(_NAME.fullmatch(card.name)), "1 to 63 of a-z, 0-9 and '-', beginning with a letter"
    yield "version", bool(_VERSION.fullmatch(card.version)), "a semantic version such as 1.0.0"


def _absent(field: str, is_absent: bool, name: str) -> Iterator[Rule]:
    yield field, is_absent, f"absent of a model without the input {name!r}"


def _graph_rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    described = described_inputs(card)
    firsts = [graph.inputs[0] if graph.inputs else "" for graph in card.graphs]
    known = firsts in ([LATENT], [PICTURE], [PICTURE, PICTURE])
    yield "graphs", known, f"one whose first input is {LATENT!r}, or one or two whose first input is {PICTURE!r}"
    members = [graph.member for graph in card.graphs]
    for number, graph in enumerate(card.graphs):
        field = f"graphs[{number}]"
        allowed = {PICTURE} if firsts[0] == PICTURE else {LATENT, CLASS, *described}
        yield f"{field}.member", bool(_MEMBER.fullmatch(graph.member)), "a plain name such as model.pt2"
        yield f"{field}.member", members.count(graph.member) == 1, "unique"
        yield f"{field}.inputs", set(graph.inputs) <= allowed, f"of {', '.join(map(repr, sorted(allowed)))}"
        yield f"{field}.inputs", len(set(graph.inputs)) == len(graph.inputs), "different from each other"
        if LATENT in graph.inputs:
            is_absent = not graph.source_domain and not graph.target_domain
            yield f"{field}.source_domain", is_absent, f"absent of a graph without the input {PICTURE!r}"
    for name in described:
        yield "graphs[0].inputs", takes(card, name), f"all that the card describes; {name!r} is missing"
    yield "graphs[0].inputs", len(condition_bounds(card)) <= MAX_CONDITION_SIZE, f"{MAX_CONDITION_SIZE} values at most"


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
    codes = codes_of(card)
    ids, names = [code.id for code in codes], [code.name for code in codes if code.name]
    ids += [CLASS] if takes(card, CLASS) else []
    for number, categorical in enumerate(card.categorical_codes):
        field = f"categorical_codes[{number}]"
        yield f"{field}.id", bool(re.fullmatch(r"k[0-9]{1,5}", categorical.id)), '"k" and a number'
        yield from _unique_rules(field, categorical, ids, names)
        yield from _meaning_rules(f"{field}.values", categorical.values)
    for number, continuous in enumerate(card.continuous_codes):
        field = f"continuous_codes[{number}]"
        yield f"{field}.id", bool(re.fullmatch(r"c[0-9]{1,5}", continuous.id)), '"c" and a number'
        yield from _unique_rules(field, continuous, ids, names)
        yield from _range_rules(field, continuous)


def _attribute_rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    names = [attribute.name for attribute in card.attributes]
    taken = {code.id for code in codes_of(card)} | {code.name for code in codes_of(card)} | _RESERVED
    for number, attribute in enumerate(card.attributes):
        field = f"attributes[{number}]"
        is_plain = bool(_ATTRIBUTE_NAME.fullmatch(attribute.name))
        yield f"{field}.name", is_plain, "1 to 48 of a-z, 0-9 and '-', beginning with a letter"
        yield f"{field}.name", attribute.name not in taken, f"no code's, and none of {', '.join(sorted(_RESERVED))}"
        yield f"{field}.name", names.count(attribute.name) == 1, "unique"
        yield from _range_rules(field, attribute)


def _range_rules(field: str, number: models_pb2.ContinuousCode | models_pb2.Attribute) -> Iterator[Rule]:
    yield f"{field}.min", math.isfinite(number.min), "finite"
    yield f"{field}.max", number.min < number.max < math.inf, "finite and greater than min"


def _unique_rules(field: str, code: Code, ids: Sequence[str], names: Sequence[str]) -> Iterator[Rule]:
    # A caller may use either, so a name may be no other input's id.
    other_ids = set(ids) - {code.id}
    yield f"{field}.id", ids.count(code.id) == 1, "unique"
    yield f"{field}.name", names.count(code.name) <= 1 and code.name not in other_ids, "unique, and no other input's id"


def _meaning_rules(field: str, values: Sequence[models_pb2.CodeMeaning]) -> Iterator[Rule]:
    names = [value.name for value in values if value.name]
    yield field, len(values) >= 2, "at least two"
    yield field, [value.index for value in values] == list(range(len(values))), "indexed from 0 without gaps"
    yield field, len(set(names)) == len(names), "of different names"


def _latent_rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    normal = models_pb2.LATENT_DISTRIBUTION_NORMAL
    yield "latent.size", 1 <= card.latent.size <= MAX_LATENT_SIZE, f"1 to {MAX_LATENT_SIZE}"
    yield "latent.distribution", card.latent.distribution == normal, "LATENT_DISTRIBUTION_NORMAL"


def _translation_rules(card: models_pb2.ModelCard) -> Iterator[Rule]:
    translation = card.translation
    domains = (translation.domain_a, translation.domain_b)
    yield "translation.domain_a", bool(domains[0]), "given"
    yield "translation.domain_b", bool(domains[1]) and domains[0] != domains[1], "given, and not domain_a"
    yield "translation.multiple", 1 <= translation.multiple <= MAX_MULTIPLE, f"1 to {MAX_MULTIPLE}"
    ways = [(graph.source_domain, graph.target_domain) for graph in card.graphs]
    for number, way in enumerate(ways):
        is_way = way in (domains, domains[::-1])
        yield f"graphs[{number}].source_domain", is_way, "one of the translation's domains, and target_domain the other"
        yield f"graphs[{number}].source_domain", ways.count(way) == 1, "another than that of the other graph"


def _execution_rules(execution: models_pb2.ExecutionSpec, *, translates: bool) -> Iterator[Rule]:
    if translates:
        yield "execution.chunk_items", execution.chunk_items == 1, "1, since pictures differ in size"
    else:
        yield "execution.chunk_items", 1 <= execution.chunk_items <= 64, "1 to 64"
        yield "execution.bfloat16", not execution.bfloat16, "false of a model without the input 'picture'"
    yield "execution.max_batch_items", 1 <= execution.max_batch_items <= 1024, "1 to 1024"


def _figure_rules(figures: Sequence[models_pb2.Figure]) -> Iterator[Rule]:
    names = [figure.name for figure in figures]
    for number, figure in enumerate(figures):
        field = f"figures[{number}]"
        yield f"{field}.name", bool(_FIGURE_NAME.fullmatch(figure.name)), "1 to 63 of a-z, 0-9 and '-'"
        yield f"{field}.name", names.count(figure.name) == 1, "unique"
        yield f"{field}.png", figure.png.startswith(_PNG_MAGIC), "a PNG"
