"""What a model takes and gives, in a few words for a table."""

from gantry.v1 import models_pb2
from services.worker.inputs import CLASS, PICTURE, condition_inputs, described_inputs, takes


def summarise_inputs(card: models_pb2.ModelCard) -> str:
    """Name what a model takes.

    Args:
        card: As a gateway gives it.

    Returns:
        For example "10 classes", "digit (10), slant, width", "smile 0..1", "horse ↔ zebra", "sketch → photo", or
        "latent only".
    """
    if len(card.graphs) > 1:
        return f"{card.translation.domain_a} ↔ {card.translation.domain_b}"
    if takes(card, PICTURE):
        return f"{card.graphs[0].source_domain} → {card.graphs[0].target_domain}"
    return ", ".join(_summary(card, name) for name in condition_inputs(card)) or "latent only"


def _summary(card: models_pb2.ModelCard, name: str) -> str:
    if name == CLASS:
        return f"{len(card.classes)} classes"
    match described_inputs(card)[name]:
        case models_pb2.CategoricalCode() as code:
            return f"{code.name or code.id} ({len(code.values)})"
        case models_pb2.ContinuousCode() as code:
            return code.name or code.id
        case attribute:
            return f"{name} {attribute.min:g}..{attribute.max:g}"


def summarise_image(card: models_pb2.ModelCard) -> str:
    """Name the size of a model's pictures, for example "28×28×1"; a translation model's is any."""
    size = f"{card.image.width}×{card.image.height}" if card.image.width else "any"
    return f"{size}×{card.image.channels}"
