"""A gateway with tiny models under the names that the documentation uses, and a folder with the files that it names."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from gantry.v1 import models_pb2
from services.gateway.server import make_backend
from services.gateway.settings import Settings
from tests.archives import (
    LATENT_SIZE,
    TinyGenerator,
    tiny_card,
    tiny_code_card,
    write_tiny_attribute_archive,
    write_tiny_one_way_archive,
    write_tiny_translation_archive,
    write_tiny_unconditional_archive,
)
from tests.conformance.harness import EventLoop, serving
from training.archive.export import export_generator
from training.archive.package import write_archive

DIGITS = [str(digit) for digit in range(10)]
CLOTHES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of the gateway."""
    store = tmp_path_factory.mktemp("store")
    write_latent_model(store, class_card("mnist-cgan", DIGITS), condition_size=len(DIGITS))
    write_latent_model(store, class_card("fashion-cgan", CLOTHES), condition_size=len(CLOTHES))
    write_latent_model(store, digit_code_card("mnist-infogan"), condition_size=len(DIGITS) + 2)
    write_tiny_translation_archive(store, "horse2zebra")
    write_tiny_attribute_archive(store, "faces")
    write_tiny_unconditional_archive(store, "textures")
    write_tiny_one_way_archive(store, "sketch2photo")
    settings = Settings(backend="embedded", execution="float32", model_store=store, port=0, metrics_port=0)
    loop = EventLoop()
    try:
        with serving(loop, settings, make_backend(settings)) as served:
            yield f"127.0.0.1:{served.gateway.port}"
    finally:
        loop.close()


def class_card(name: str, classes: list[str]) -> models_pb2.ModelCard:
    card = tiny_card(name)
    del card.classes[:]
    card.classes.extend(models_pb2.ClassInfo(id=index, name=text) for index, text in enumerate(classes))
    return card


def digit_code_card(name: str) -> models_pb2.ModelCard:
    card = tiny_code_card(name)
    digits = [models_pb2.CodeMeaning(index=index, name=text) for index, text in enumerate(DIGITS)]
    card.categorical_codes[0].CopyFrom(models_pb2.CategoricalCode(id="k1", name="digit", values=digits))
    return card


def write_latent_model(store: Path, card: models_pb2.ModelCard, condition_size: int) -> None:
    graph = export_generator(TinyGenerator(1, 0, condition_size), LATENT_SIZE, condition_size)
    write_archive(store / f"{card.name}.mar", card, {"model.pt2": graph})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: with a horse, a sketch, a folder of photos, and an empty one for zebras."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "zebras").mkdir()
    for name in ("horse.jpg", "sketch.png", "photos/a.jpg", "photos/b.png"):
        Image.effect_noise((40, 30), 90).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
