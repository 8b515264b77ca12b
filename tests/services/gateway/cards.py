"""Cards and limits for tests that need no archive, and no torch to import one."""

from gantry.v1 import models_pb2
from services.gateway.planning.output import Limits


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
        graphs=[models_pb2.Graph(member="model.pt2", inputs=["latent", "class"])],
        execution=models_pb2.ExecutionSpec(chunk_items=8, max_batch_items=64),
    )


def plain_card(name: str = "plain") -> models_pb2.ModelCard:
    """The card of a model that takes a latent alone."""
    card = tiny_card(name)
    card.kind = models_pb2.MODEL_KIND_UNCONDITIONAL
    card.ClearField("classes")
    card.graphs[0].inputs[:] = ["latent"]
    return card


def face_card(name: str = "faces") -> models_pb2.ModelCard:
    """The card of a model with the attributes "smile", 0 to 1, and "age", 18 to 80."""
    card = plain_card(name)
    card.kind = models_pb2.MODEL_KIND_ATTRIBUTE_CONDITIONAL
    card.attributes.add(name="smile", min=0.0, max=1.0)
    card.attributes.add(name="age", min=18.0, max=80.0)
    card.graphs[0].inputs.extend(["smile", "age"])
    return card


def mixed_card(name: str = "mixed") -> models_pb2.ModelCard:
    """The card of a model whose graph takes an attribute, a continuous code and a class, in this order."""
    card = tiny_card(name)
    card.kind = models_pb2.MODEL_KIND_CODE_CONDITIONAL
    card.continuous_codes.add(id="c1", min=-1.0, max=1.0)
    card.attributes.add(name="age", min=18.0, max=80.0)
    card.graphs[0].inputs[:] = ["latent", "age", "c1", "class"]
    return card


def code_card(name: str = "codes") -> models_pb2.ModelCard:
    """The card of a model with a categorical code of three values and two continuous ones, of grey 6×8 pictures."""
    return models_pb2.ModelCard(
        name=name,
        version="1.0.0",
        kind=models_pb2.MODEL_KIND_CODE_CONDITIONAL,
        image=models_pb2.ImageSpec(width=6, height=8, channels=1, value_min=-1.0, value_max=1.0),
        categorical_codes=[
            models_pb2.CategoricalCode(
                id="k1",
                name="shape",
                values=[
                    models_pb2.CodeMeaning(index=index, name=text)
                    for index, text in enumerate(("round", "square", "long"))
                ],
            )
        ],
        continuous_codes=[
            models_pb2.ContinuousCode(id="c1", name="slant", min=-1.0, max=1.0),
            models_pb2.ContinuousCode(id="c2", min=-2.0, max=0.5),
        ],
        graphs=[models_pb2.Graph(member="model.pt2", inputs=["latent", "k1", "c1", "c2"])],
        execution=models_pb2.ExecutionSpec(chunk_items=8, max_batch_items=64),
    )


def translation_card(name: str = "horse2zebra") -> models_pb2.ModelCard:
    """The card of a model that translates between horses and zebras."""
    return models_pb2.ModelCard(
        name=name,
        version="1.0.0",
        kind=models_pb2.MODEL_KIND_TRANSLATION,
        image=models_pb2.ImageSpec(channels=3, value_min=-1.0, value_max=1.0),
        translation=models_pb2.TranslationSpec(domain_a="horse", domain_b="zebra", multiple=4, trained_side=128),
        graphs=[
            models_pb2.Graph(member="a_to_b.pt2", inputs=["picture"], source_domain="horse", target_domain="zebra"),
            models_pb2.Graph(member="b_to_a.pt2", inputs=["picture"], source_domain="zebra", target_domain="horse"),
        ],
        execution=models_pb2.ExecutionSpec(chunk_items=1, max_batch_items=4),
    )


def one_way_card(name: str = "zebra2horse") -> models_pb2.ModelCard:
    """The card of a model that translates zebras to horses, from its domain B to A, and not back."""
    card = translation_card(name)
    del card.graphs[0]
    return card


def limits_of(
    max_images: int = 256,
    max_response_bytes: int = 4_000_000,
    max_image_bytes: int = 1 << 20,
    max_image_pixels: int = 1 << 20,
) -> Limits:
    """Limits, as they are unless a test says otherwise."""
    return Limits(max_images, max_response_bytes, max_image_bytes, max_image_pixels)
