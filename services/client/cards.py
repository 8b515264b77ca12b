"""What a model takes and gives, in a few words for a table."""

from gantry.v1 import models_pb2


def summarise_inputs(card: models_pb2.ModelCard) -> str:
    """Name the classes, codes or domains of a model, for example "digit (10), slant, width"."""
    parts = [f"{len(card.classes)} classes"] if card.classes else []
    parts += [f"{code.name or code.id} ({len(code.values)})" for code in card.categorical_codes]
    parts += [code.name or code.id for code in card.continuous_codes]
    if card.HasField("translation"):
        parts.append(f"{card.translation.domain_a} ↔ {card.translation.domain_b}")
    return ", ".join(parts)


def summarise_image(card: models_pb2.ModelCard) -> str:
    """Name the size of a model's pictures, for example "28×28×1"; a translation model's is any."""
    size = f"{card.image.width}×{card.image.height}" if card.image.width else "any"
    return f"{size}×{card.image.channels}"
