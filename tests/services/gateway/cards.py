"""A card for tests that need no archive, and no torch to import one."""

from gantry.v1 import models_pb2


def tiny_card(name: str = "tiny", version: str = "1.0.0") -> models_pb2.ModelCard:
    """The card of a model of three classes and grey 6×8 pictures."""
    return models_pb2.ModelCard(
        name=name,
        version=version,
        kind=models_pb2.MODEL_KIND_CLASS_CONDITIONAL,
        image=models_pb2.ImageSpec(width=6, height=8, channels=1, value_min=-1.0, value_max=1.0),
        classes=[
            models_pb2.ClassInfo(id=index, name=text)
            for index, text in enumerate(("circle", "square", "three words here"))
        ],
        execution=models_pb2.ExecutionSpec(chunk_items=8, max_batch_items=64),
    )
