"""Envelopes through real graphs: the same bytes wherever an item rides, and errors that stay with their item."""

import io
import math
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from services.worker.archive import Archive, ArchiveError
from services.worker.runner import Runner
from tests.archives import LATENT_SIZE, TinyGenerator, tiny_card
from training.archive import export_graph

PNG, RAW = generation_pb2.IMAGE_FORMAT_PNG, generation_pb2.IMAGE_FORMAT_RAW
JPEG, WEBP = generation_pb2.IMAGE_FORMAT_JPEG, generation_pb2.IMAGE_FORMAT_WEBP

Item = worker_pb2.WorkItem


@pytest.fixture(scope="session")
def runner(tiny_archive: Archive) -> Runner:
    return Runner(tiny_archive)


def item(seed: int, label: int = 0, truncation: float = 1.0, image_format: int = RAW, quality: int = 90) -> Item:
    return Item(seed=seed, label=label, truncation=truncation, format=image_format, quality=quality)


def run(runner: Runner, items: list[Item]) -> list[worker_pb2.WorkResult]:
    return list(runner.run(worker_pb2.WorkRequest(items=items)).results)


def archive_of(module: nn.Module) -> Archive:
    """An archive of a module, without the detour over a file."""
    card = tiny_card()
    card.execution.CopyFrom(models_pb2.ExecutionSpec(chunk_items=8, max_batch_items=64))
    return Archive(card, b"{}", "0" * 64, export_graph(module, LATENT_SIZE))


class BatchStatistics(TinyGenerator):
    """What a forgotten `eval()` makes of batch normalisation: every row has an effect on all others."""

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return super().forward(latents / (latents.std(dim=0, correction=0) + 0.1), labels)


class Formula(nn.Module):
    """Pictures of 8×6 with one value each: a function of the first latent value and the label."""

    def __init__(self, value: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.value = value

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return self.value(latents[:, 0], labels).view(-1, 1, 1, 1) + torch.zeros(1, 1, 8, 6)


@pytest.fixture(scope="session", params=["sound", "mixing rows"])
def any_runner(request: pytest.FixtureRequest, runner: Runner) -> Runner:
    return runner if request.param == "sound" else Runner(archive_of(BatchStatistics(channels=1, seed=0)))


@pytest.mark.parametrize("image_format", [PNG, RAW])
def test_a_picture_is_the_same_bytes_alone_and_among_others(any_runner: Runner, image_format: int) -> None:
    items = [item(seed * 7919, seed % 3, 1 - seed / 100, image_format) for seed in range(64)]
    alone = [run(any_runner, [one])[0] for one in items]
    assert not any(result.error for result in alone)
    assert run(any_runner, items) == alone
    for seed in range(3):
        order = random.Random(seed).sample(range(64), 64)
        assert run(any_runner, [items[index] for index in order]) == [alone[index] for index in order]
    for count in (2, 7, 8, 9, 33):
        assert run(any_runner, items[:count]) == alone[:count]


def test_values_are_the_same_at_any_place(any_runner: Runner) -> None:
    """Exact for the graph's own values too: pixels would hide a difference in the last bit."""
    items = [item(seed, seed % 3) for seed in range(16)]
    alone = np.concatenate([any_runner._run_chunk([one]) for one in items])
    assert np.array_equal(np.stack(list(any_runner._make(items))), alone)
    assert np.array_equal(np.stack(list(any_runner._make(items[::-1])))[::-1], alone)


def test_threads_do_not_disturb_each_other(runner: Runner) -> None:
    items = [item(seed, seed % 3, image_format=PNG) for seed in range(24)]
    alone = run(runner, items)
    with ThreadPoolExecutor(8) as threads:
        assert all(results == alone for results in threads.map(lambda _: run(runner, items), range(32)))


def test_a_graph_runs_on_one_thread_wherever_it_is_called(runner: Runner) -> None:
    def many_then_one() -> tuple[int, int]:
        torch.set_num_threads(4)
        torch.ones(10).sum()
        before = torch.get_num_threads()
        run(runner, [item(1)])
        return before, torch.get_num_threads()

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(many_then_one).result() == (4, 1)


def test_different_seeds_labels_and_truncations_give_different_pictures(runner: Runner) -> None:
    items = [item(1), item(2), item(1, label=1), item(1, truncation=0.5)]
    assert len({result.image.data for result in run(runner, items)}) == len(items)


def test_truncation_zero_gives_one_picture_per_class(runner: Runner) -> None:
    items = [item(seed, label, truncation=0.0) for label in range(3) for seed in range(4)]
    assert len({result.image.data for result in run(runner, items)}) == 3


def test_the_value_range_of_the_card_becomes_pixels() -> None:
    archive = archive_of(Formula(lambda latents, labels: labels - 2.0 + 0 * latents))
    archive.card.image.value_max = 3.0
    pixels = [result.image.data for result in run(Runner(archive), [item(0, label) for label in range(3)])]
    # 0 is a quarter of the way from -1 to 3.
    assert pixels == [bytes([value]) * 48 for value in (0, 0, 64)]


def test_a_png_tells_how_to_make_it_again(runner: Runner, tiny_archive: Archive) -> None:
    result = run(runner, [item(2**64 - 1, 2, 0.5, PNG)])[0]
    assert Image.open(io.BytesIO(result.image.data)).text == {
        "gantry:model": "tiny",
        "gantry:version": "1.0.0",
        "gantry:digest": tiny_archive.digest,
        "gantry:seed": "18446744073709551615",
        "gantry:label_id": "2",
        "gantry:label_name": "three words here",
        "gantry:truncation": "0.5",
    }


@pytest.mark.parametrize("image_format", [PNG, RAW, JPEG, WEBP])
def test_a_picture_has_the_size_and_format_of_its_item(runner: Runner, image_format: int) -> None:
    image = run(runner, [item(0, image_format=image_format)])[0].image
    assert (image.width, image.height, image.channels, image.format) == (6, 8, 1, image_format)
    if image_format != RAW:
        assert Image.open(io.BytesIO(image.data)).size == (6, 8)


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (item(1, label=3), "label 3: must be below 3"),
        (item(1, truncation=-0.1), "truncation"),
        (item(1, truncation=1.1), "truncation"),
        (item(1, truncation=math.nan), "truncation"),
        (item(1, image_format=0), "format 0"),
        (item(1, image_format=99), "format 99"),
        (item(1, image_format=JPEG, quality=0), "quality 0"),
        (item(1, image_format=WEBP, quality=101), "quality 101"),
        (item(1, image_format=WEBP, quality=2**32 - 1), "quality"),
    ],
)
def test_a_bad_item_gets_an_error_and_its_neighbours_their_pictures(runner: Runner, bad: Item, fault: str) -> None:
    good = [item(seed, image_format=PNG) for seed in range(10)]
    results = run(runner, [*good[:5], bad, *good[5:], bad])
    assert results[5].error.startswith(fault)
    assert results[5] == results[11]
    assert [*results[:5], *results[6:11]] == run(runner, good)


def test_an_envelope_of_bad_items_only(runner: Runner) -> None:
    assert all(result.error for result in run(runner, [item(0, label=9), item(0, image_format=0)]))


def test_values_that_are_not_finite_fail_their_item_only() -> None:
    runner = Runner(archive_of(Formula(lambda latents, labels: 0 * latents + torch.log(labels.float() - 1))))
    results = run(runner, [item(0, 2), item(0, 1), item(0, 0), item(1, 2)])
    assert [result.error for result in results] == [
        "",
        "the model gave values that are not finite",
        "the model gave values that are not finite",
        "",
    ]


def test_an_envelope_without_items_asks_who_is_there(runner: Runner, tiny_archive: Archive) -> None:
    reply = runner.run(worker_pb2.WorkRequest())
    assert reply.description.card_json == tiny_archive.card_json
    assert not reply.results


def test_the_time_of_an_envelope_is_told(runner: Runner) -> None:
    reply = runner.run(worker_pb2.WorkRequest(items=[item(0, image_format=PNG)]))
    assert reply.run_seconds > 0
    assert reply.encode_seconds > 0


@pytest.mark.parametrize("field", ["width", "height", "channels"])
def test_a_graph_of_another_shape_than_the_card_is_refused(tiny_archive: Archive, field: str) -> None:
    card = models_pb2.ModelCard()
    card.CopyFrom(tiny_archive.card)
    setattr(card.image, field, 3)
    with pytest.raises(ArchiveError, match=r"model\.pt2: the graph gives pictures"):
        Runner(Archive(card, tiny_archive.card_json, tiny_archive.digest, tiny_archive.graph))


def test_a_graph_that_knows_fewer_classes_than_the_card_is_refused(tiny_archive: Archive) -> None:
    card = models_pb2.ModelCard()
    card.CopyFrom(tiny_archive.card)
    card.classes.add(id=3, name="unknown to the embedding")
    with pytest.raises(ArchiveError, match=r"model\.pt2: "):
        Runner(Archive(card, tiny_archive.card_json, tiny_archive.digest, tiny_archive.graph))


@pytest.mark.parametrize("size", [LATENT_SIZE - 1, LATENT_SIZE + 1])
def test_a_graph_of_another_latent_than_the_card_is_refused(tiny_archive: Archive, size: int) -> None:
    card = models_pb2.ModelCard()
    card.CopyFrom(tiny_archive.card)
    card.latent.size = size
    with pytest.raises(ArchiveError, match=r"model\.pt2: "):
        Runner(Archive(card, tiny_archive.card_json, tiny_archive.digest, tiny_archive.graph))


def test_a_graph_that_cannot_be_loaded_is_refused(tiny_archive: Archive) -> None:
    with pytest.raises(ArchiveError, match=r"model\.pt2: "):
        Runner(Archive(tiny_archive.card, tiny_archive.card_json, tiny_archive.digest, tiny_archive.graph[:-100]))
