"""What a model takes, by name: the one place that reads the graphs of a card, and knows of cards without them.

An input is "latent", "class", "picture", a code's id or an attribute's name. A graph's first argument is the latent or
the picture; the others make up the condition, in the order in which the graph lists them.
"""

from collections.abc import Sequence

from gantry.v1 import models_pb2
from gantry.v1.generation_pb2 import DIRECTION_A_TO_B, DIRECTION_B_TO_A, Direction

LATENT, CLASS, PICTURE = "latent", "class", "picture"

Code = models_pb2.CategoricalCode | models_pb2.ContinuousCode
# An input that the card describes by its own entry.
Input = Code | models_pb2.Attribute

_WAYS = ("a_to_b.pt2", "b_to_a.pt2")


def takes(card: models_pb2.ModelCard, name: str) -> bool:
    """Whether a graph of the model has an input of this name."""
    return any(name in graph.inputs for graph in card.graphs)


def condition_inputs(card: models_pb2.ModelCard) -> Sequence[str]:
    """Name the inputs that a model takes beside its latent, in the order of the graph; none of a translation model."""
    return [name for graph in card.graphs for name in graph.inputs if name not in (LATENT, PICTURE)]


def codes_of(card: models_pb2.ModelCard) -> list[Code]:
    """List a model's codes in the order of the card, the categorical ones first."""
    return [*card.categorical_codes, *card.continuous_codes]


def described_inputs(card: models_pb2.ModelCard) -> dict[str, Input]:
    """Return the codes by their ids and the attributes by their names, in the order of the card."""
    return {code.id: code for code in codes_of(card)} | {attribute.name: attribute for attribute in card.attributes}


def condition_bounds(card: models_pb2.ModelCard) -> list[tuple[float, float]]:
    """Return the least and the greatest of every value that the graph takes beside a latent, in the graph's order.

    A class and a categorical code are one-hot: as many values as they have choices, each 0 to 1.
    """
    described = described_inputs(card)
    bounds: list[tuple[float, float]] = []
    for name in condition_inputs(card):
        if name == CLASS:
            bounds += [(0.0, 1.0)] * len(card.classes)
        elif isinstance(entry := described[name], models_pb2.CategoricalCode):
            bounds += [(0.0, 1.0)] * len(entry.values)
        else:
            bounds.append((entry.min, entry.max))
    return bounds


def neutral_condition(card: models_pb2.ModelCard) -> list[float]:
    """Return a condition to try a model with: every value 0, or the nearest to it in its range."""
    return [min(max(0.0, low), high) for low, high in condition_bounds(card)]


def ways_of(card: models_pb2.ModelCard) -> "dict[Direction.ValueType, models_pb2.Graph]":
    """Return the graph for each direction in which a model translates; none of a model that takes no picture."""
    return {
        DIRECTION_A_TO_B if graph.source_domain == card.translation.domain_a else DIRECTION_B_TO_A: graph
        for graph in card.graphs
        if PICTURE in graph.inputs
    }


def kind_of(card: models_pb2.ModelCard) -> "models_pb2.ModelKind.ValueType":
    """Return the word for what a model takes: the first that fits, as `models_pb2.ModelKind` lists them."""
    if takes(card, PICTURE):
        return models_pb2.MODEL_KIND_TRANSLATION
    if any(takes(card, code.id) for code in codes_of(card)):
        return models_pb2.MODEL_KIND_CODE_CONDITIONAL
    if takes(card, CLASS):
        return models_pb2.MODEL_KIND_CLASS_CONDITIONAL
    if condition_inputs(card):
        return models_pb2.MODEL_KIND_ATTRIBUTE_CONDITIONAL
    return models_pb2.MODEL_KIND_UNCONDITIONAL


def fill_in_graphs(card: models_pb2.ModelCard) -> None:
    """Give a card of before `graphs` the graphs that its kind meant; others stay as they are."""
    if card.graphs:
        return
    if card.kind == models_pb2.MODEL_KIND_TRANSLATION:
        domains = card.translation.domain_a, card.translation.domain_b
        for member, source, target in zip(_WAYS, domains, reversed(domains), strict=True):
            card.graphs.add(member=member, inputs=[PICTURE], source_domain=source, target_domain=target)
    elif card.kind == models_pb2.MODEL_KIND_CLASS_CONDITIONAL:
        card.graphs.add(member="model.pt2", inputs=[LATENT, CLASS])
    elif card.kind == models_pb2.MODEL_KIND_CODE_CONDITIONAL:
        card.graphs.add(member="model.pt2", inputs=[LATENT, *(code.id for code in codes_of(card))])
