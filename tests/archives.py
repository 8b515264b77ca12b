"""Real archives for tests: small untrained models, exported and packed as trained ones are."""

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gantry.v1 import models_pb2
from training.archive.export import export_generator, export_translator
from training.archive.package import write_archive

LATENT_SIZE = 8
CLASS_NAMES = ("circle", "square", "three words here")
SHAPES = ("round", "square", "long")
# One-hot of the categorical code, and the two continuous ones.
CODE_SIZE = len(SHAPES) + 2
DOMAINS = ("horse", "zebra")
ONE_WAY_DOMAINS = ("sketch", "photo")
MULTIPLE = 4


class TinyGenerator(nn.Module):
    """Grey 8×6 or RGB pictures from a latent and a condition, with the layers that real generators have."""

    def __init__(self, channels: int, seed: int, condition_size: int = len(CLASS_NAMES)) -> None:
        """Draw the weights.

        Args:
            channels: 1 or 3.
            seed: Of the weights.
            condition_size: Number of values of a condition; 0 for a generator of latents alone.
        """
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Linear(condition_size, 4, bias=False) if condition_size else None
        self.project = nn.Linear(LATENT_SIZE + (4 if condition_size else 0), 16 * 4 * 3)
        self.body = nn.Sequential(
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """[B, 8], and [B, condition_size] where there is a condition → [B, channels, 8, 6]."""
        if self.embedding is not None:
            latents = torch.cat([latents, 3 * self.embedding(condition)], dim=1)
        pictures: Tensor = self.body(self.project(latents).view(-1, 16, 4, 3) * 3)
        return pictures


class TinyAttributeGenerator(nn.Module):
    """Grey 8×6 pictures from a latent, a smile of 0 to 1 and an age of 18 to 80."""

    def __init__(self, seed: int) -> None:
        """Draw the weights.

        Args:
            seed: Of the weights.
        """
        super().__init__()
        self.pictures = TinyGenerator(1, seed, condition_size=2)

    def forward(self, latents: Tensor, attributes: Tensor) -> Tensor:
        """[B, 8], [B, 2] → [B, 1, 8, 6]."""
        pictures: Tensor = self.pictures(latents, attributes / torch.tensor([1.0, 80.0]))
        return pictures


class TinyTranslator(nn.Module):
    """Pictures of any size divisible by 4 to the same size; each seed changes their colours in another way."""

    def __init__(self, seed: int) -> None:
        """Draw the weights.

        Args:
            seed: Of the weights.
        """
        super().__init__()
        torch.manual_seed(seed)
        self.colours = nn.Conv2d(3, 3, 1)
        self.details = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
            nn.ReLU(),
            nn.Conv2d(4, 8, 3, stride=2, padding=1),
            nn.InstanceNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """[1, 3, H, W] → [1, 3, H, W], both in [-1, 1]."""
        return torch.tanh(2 * self.colours(pictures) + 0.2 * self.details(pictures))


def tiny_card(name: str = "tiny", version: str = "1.0.0", channels: int = 1) -> models_pb2.ModelCard:
    """A card for a `TinyGenerator` of classes."""
    return models_pb2.ModelCard(
        name=name,
        version=version,
        kind=models_pb2.MODEL_KIND_CLASS_CONDITIONAL,
        description="An untrained generator for tests.",
        image=models_pb2.ImageSpec(width=6, height=8, channels=channels, value_min=-1.0, value_max=1.0),
        classes=[models_pb2.ClassInfo(id=index, name=text) for index, text in enumerate(CLASS_NAMES)],
        latent=models_pb2.LatentSpec(size=LATENT_SIZE, distribution=models_pb2.LATENT_DISTRIBUTION_NORMAL),
        graphs=[models_pb2.Graph(member="model.pt2", inputs=["latent", "class"])],
    )


def tiny_code_card(name: str = "tiny-codes", version: str = "1.0.0") -> models_pb2.ModelCard:
    """A card for a `TinyGenerator` of codes: k1 "shape" with three values, c1 "slant" and c2 without a name."""
    values = [models_pb2.CodeMeaning(index=index, name=text) for index, text in enumerate(SHAPES)]
    return models_pb2.ModelCard(
        name=name,
        version=version,
        kind=models_pb2.MODEL_KIND_CODE_CONDITIONAL,
        description="An untrained generator with codes for tests.",
        image=models_pb2.ImageSpec(width=6, height=8, channels=1, value_min=-1.0, value_max=1.0),
        latent=models_pb2.LatentSpec(size=LATENT_SIZE, distribution=models_pb2.LATENT_DISTRIBUTION_NORMAL),
        categorical_codes=[models_pb2.CategoricalCode(id="k1", name="shape", values=values)],
        continuous_codes=[
            models_pb2.ContinuousCode(id="c1", name="slant", min=-1.0, max=1.0, correlations={"slant": 0.9}),
            models_pb2.ContinuousCode(id="c2", min=-1.0, max=1.0),
        ],
        graphs=[models_pb2.Graph(member="model.pt2", inputs=["latent", "k1", "c1", "c2"])],
        figures=[models_pb2.Figure(name="codes", description="Nothing to be seen: a grey square.", png=_grey_png())],
    )


def tiny_unconditional_card(name: str = "tiny-plain", version: str = "1.0.0") -> models_pb2.ModelCard:
    """A card for a `TinyGenerator` without a condition."""
    card = tiny_card(name, version)
    card.kind = models_pb2.MODEL_KIND_UNCONDITIONAL
    card.ClearField("classes")
    card.graphs[0].inputs[:] = ["latent"]
    return card


def tiny_attribute_card(name: str = "tiny-attributes", version: str = "1.0.0") -> models_pb2.ModelCard:
    """A card for a `TinyAttributeGenerator`: "smile", 0 to 1, and "age", 18 to 80."""
    card = tiny_unconditional_card(name, version)
    card.kind = models_pb2.MODEL_KIND_ATTRIBUTE_CONDITIONAL
    card.attributes.add(name="smile", description="How much it smiles.", min=0.0, max=1.0)
    card.attributes.add(name="age", min=18.0, max=80.0)
    card.graphs[0].inputs.extend(["smile", "age"])
    return card


def tiny_translation_card(
    name: str = "tiny-translation", version: str = "1.0.0", domains: tuple[str, str] = DOMAINS
) -> models_pb2.ModelCard:
    """A card for two `TinyTranslator`, between two domains."""
    return models_pb2.ModelCard(
        name=name,
        version=version,
        kind=models_pb2.MODEL_KIND_TRANSLATION,
        description="An untrained translator for tests.",
        image=models_pb2.ImageSpec(channels=3, value_min=-1.0, value_max=1.0),
        translation=models_pb2.TranslationSpec(
            domain_a=domains[0], domain_b=domains[1], multiple=MULTIPLE, trained_side=64
        ),
        graphs=[
            models_pb2.Graph(member=member, inputs=["picture"], source_domain=source, target_domain=target)
            for member, source, target in (("a_to_b.pt2", *domains), ("b_to_a.pt2", *reversed(domains)))
        ],
    )


def tiny_one_way_card(name: str = "tiny-one-way", version: str = "1.0.0") -> models_pb2.ModelCard:
    """A card for a `TinyTranslator` from the domain "sketch" to "photo", and not back."""
    card = tiny_translation_card(name, version, ONE_WAY_DOMAINS)
    del card.graphs[1]
    return card


def write_tiny_archive(
    folder: Path, name: str = "tiny", version: str = "1.0.0", channels: int = 1, seed: int = 0
) -> Path:
    """Write an archive of a class-conditional model into a folder and return its path."""
    graph = export_generator(TinyGenerator(channels, seed), LATENT_SIZE, len(CLASS_NAMES))
    return _write(folder, tiny_card(name, version, channels), {"model.pt2": graph})


def write_tiny_code_archive(folder: Path, name: str = "tiny-codes", version: str = "1.0.0", seed: int = 0) -> Path:
    """Write an archive of a code-conditional model into a folder and return its path."""
    graph = export_generator(TinyGenerator(1, seed, CODE_SIZE), LATENT_SIZE, CODE_SIZE)
    return _write(folder, tiny_code_card(name, version), {"model.pt2": graph})


def write_tiny_unconditional_archive(
    folder: Path, name: str = "tiny-plain", version: str = "1.0.0", seed: int = 0
) -> Path:
    """Write an archive of a model that takes a latent alone into a folder and return its path."""
    graph = export_generator(TinyGenerator(1, seed, condition_size=0), LATENT_SIZE, 0)
    return _write(folder, tiny_unconditional_card(name, version), {"model.pt2": graph})


def write_tiny_attribute_archive(
    folder: Path, name: str = "tiny-attributes", version: str = "1.0.0", seed: int = 0
) -> Path:
    """Write an archive of a model with the attributes "smile" and "age" into a folder and return its path."""
    graph = export_generator(TinyAttributeGenerator(seed), LATENT_SIZE, 2)
    return _write(folder, tiny_attribute_card(name, version), {"model.pt2": graph})


def write_tiny_one_way_archive(folder: Path, name: str = "tiny-one-way", version: str = "1.0.0", seed: int = 0) -> Path:
    """Write an archive of a model that translates sketches to photos, and not back, into a folder; return its path."""
    graph = export_translator(TinyTranslator(seed), MULTIPLE)
    return _write(folder, tiny_one_way_card(name, version), {"a_to_b.pt2": graph})


def write_tiny_translation_archive(
    folder: Path, name: str = "tiny-translation", version: str = "1.0.0", seed: int = 0
) -> Path:
    """Write an archive of a translation model into a folder and return its path."""
    directions = zip(("a_to_b.pt2", "b_to_a.pt2"), (2 * seed, 2 * seed + 1), strict=True)
    graphs = {member: export_translator(TinyTranslator(weights), MULTIPLE) for member, weights in directions}
    return _write(folder, tiny_translation_card(name, version), graphs)


def _write(folder: Path, card: models_pb2.ModelCard, graphs: dict[str, bytes]) -> Path:
    path = folder / f"{card.name}-{card.version}.mar"
    write_archive(path, card, graphs)
    return path


def _grey_png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), 128).save(buffer, "PNG")
    return buffer.getvalue()
