"""The embedded backend runs real archives, and fails in the ways that the gateway knows."""

from pathlib import Path

import pytest
import torch

from gantry.v1 import worker_pb2
from gantry.v1.generation_pb2 import DIRECTION_B_TO_A
from services.backends.base import BackendUnavailableError, ModelKey, probe_item
from services.backends.embedded import EmbeddedBackend
from services.backends.envelope import Envelope
from tests.archives import (
    tiny_attribute_card,
    tiny_card,
    tiny_one_way_card,
    tiny_unconditional_card,
    write_tiny_archive,
    write_tiny_attribute_archive,
    write_tiny_code_archive,
    write_tiny_one_way_archive,
    write_tiny_translation_archive,
    write_tiny_unconditional_archive,
)
from training.archive.package import write_archive

KEY = ModelKey("tiny", "1.0.0")
ENVELOPE = worker_pb2.WorkRequest(items=[probe_item(tiny_card())] * 64)


async def test_models_of_the_store_are_served_and_a_broken_graph_is_refused(tmp_path: Path) -> None:
    write_tiny_archive(tmp_path)
    write_archive(tmp_path / "broken.mar", tiny_card("broken"), {"model.pt2": b"no graph"})
    backend = EmbeddedBackend(tmp_path, threads=1)
    await backend.start()
    try:
        assert list(backend.models) == [KEY]
        assert [refused.archive for refused in backend.refused] == ["broken.mar"]
        assert backend.refused[0].reason.startswith("model.pt2: not an exported program")
        await backend.probe(KEY)
        assert len((await backend.run(KEY, Envelope(ENVELOPE, None))).results) == 64
    finally:
        await backend.stop()


async def test_every_kind_of_model_can_be_probed(tmp_path: Path) -> None:
    for write in (
        write_tiny_archive,
        write_tiny_attribute_archive,
        write_tiny_code_archive,
        write_tiny_one_way_archive,
        write_tiny_translation_archive,
        write_tiny_unconditional_archive,
    ):
        write(tmp_path)
    backend = EmbeddedBackend(tmp_path, threads=1, execution="float32")
    await backend.start()
    try:
        assert len(backend.models) == 6
        for key in backend.models:
            await backend.probe(key)
    finally:
        await backend.stop()


def test_a_probe_keeps_to_what_the_model_knows() -> None:
    """A graph may give values that are not finite for an age of 0."""
    assert list(probe_item(tiny_attribute_card()).generate.condition) == [0.0, 18.0]
    assert list(probe_item(tiny_unconditional_card()).generate.condition) == []


def test_a_probe_goes_the_way_that_there_is() -> None:
    card = tiny_one_way_card()
    card.graphs[0].source_domain, card.graphs[0].target_domain = "photo", "sketch"
    assert probe_item(card).translate.direction == DIRECTION_B_TO_A


async def test_store_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="none is not a folder"):
        await EmbeddedBackend(tmp_path / "none").start()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
async def test_a_gpu_that_is_not_there_is_told(tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path, device="cuda")
    with pytest.raises(BackendUnavailableError, match="torch finds no GPU"):
        await backend.start()
    await backend.stop()
