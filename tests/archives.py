"""Real archives for tests: small untrained generators, exported and packed as trained ones are."""

from pathlib import Path

import torch
from torch import Tensor, nn

from gantry.v1 import models_pb2
from training.archive import export_graph, write_archive

LATENT_SIZE = 8
CLASS_NAMES = ("circle", "square", "three words here")


class TinyGenerator(nn.Module):
    """Grey 8×6 or RGB pictures from a latent and a label, with the layers that real generators have."""

    def __init__(self, channels: int, seed: int) -> None:
        """Draw the weights.

        Args:
            channels: 1 or 3.
            seed: Of the weights.
        """
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(len(CLASS_NAMES), 4)
        self.project = nn.Linear(LATENT_SIZE + 4, 16 * 4 * 3)
        self.body = nn.Sequential(
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """[B, 8], [B] → [B, channels, 8, 6]."""
        hidden = self.project(torch.cat([latents, self.embedding(labels)], dim=1))
        pictures: Tensor = self.body(hidden.view(-1, 16, 4, 3) * 3)
        return pictures


def tiny_card(name: str = "tiny", version: str = "1.0.0", channels: int = 1) -> models_pb2.ModelCard:
    """A card for `TinyGenerator`."""
    return models_pb2.ModelCard(
        name=name,
        version=version,
        kind=models_pb2.MODEL_KIND_CLASS_CONDITIONAL,
        description="An untrained generator for tests.",
        image=models_pb2.ImageSpec(width=6, height=8, channels=channels, value_min=-1.0, value_max=1.0),
        classes=[models_pb2.ClassInfo(id=index, name=text) for index, text in enumerate(CLASS_NAMES)],
        latent=models_pb2.LatentSpec(size=LATENT_SIZE, distribution=models_pb2.LATENT_DISTRIBUTION_NORMAL),
    )


def write_tiny_archive(
    folder: Path, name: str = "tiny", version: str = "1.0.0", channels: int = 1, seed: int = 0
) -> Path:
    """Write a tiny archive into a folder and return its path."""
    path = folder / f"{name}-{version}.mar"
    graph = export_graph(TinyGenerator(channels, seed), LATENT_SIZE)
    write_archive(path, tiny_card(name, version, channels), graph)
    return path
