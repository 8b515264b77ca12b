"""Envelopes through real models: the same bytes wherever an item rides, and errors that stay with their item."""

import io
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gantry.v1 import generation_pb2, models_pb2, worker_pb2
from services.worker.archive import Archive, ArchiveError
from services.worker.execution import can_compile
from services.worker.latents import draw_latent
from services.worker.lowering import run_graph
from services.worker.runner import Runner
from tests.archives import CLASS_NAMES

PNG, RAW = generation_pb2.IMAGE_FORMAT_PNG, generation_pb2.IMAGE_FORMAT_RAW
JPEG, WEBP = generation_pb2.IMAGE_FORMAT_JPEG, generation_pb2.IMAGE_FORMAT_WEBP

Item = worker_pb2.WorkItem


@pytest.fixture(scope="session")
def runner(tiny_archive: Archive) -> Runner:
    return Runner(tiny_archive)


@pytest.fixture(scope="session")
def translator(translation_archive: Archive) -> Runner:
    return Runner(translation_archive, "float32")


def item(seed: int, label: int = 0, truncation: float = 1.0, image_format: int = RAW, quality: int = 90) -> Item:
    condition = [float(index == label) for index in range(len(CLASS_NAMES))]
    work = worker_pb2.GenerateWork(seed=seed, condition=condition, truncation=truncation)
    return Item(generate=work, format=image_format, quality=quality)


def picture_item(seed: int, image_format: int = RAW, cycle: bool = False) -> Item:
    pixels = np.random.default_rng(seed).integers(0, 256, (20 + seed % 7, 30 - seed % 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    work = worker_pb2.TranslateWork(image=buffer.getvalue(), direction=1 + seed % 2, cycle=cycle, max_pixels=10_000)
    return Item(translate=work, format=image_format, quality=90)


def run(runner: Runner, items: list[Item]) -> list[worker_pb2.WorkResult]:
    return list(runner.run(worker_pb2.WorkRequest(items=items)).results)


@pytest.mark.parametrize("image_format", [PNG, RAW])
def test_a_picture_is_the_same_bytes_alone_and_among_others(runner: Runner, image_format: int) -> None:
    items = [item(seed * 7919, seed % 3, 1 - seed / 100, image_format) for seed in range(64)]
    alone = [run(runner, [one])[0] for one in items]
    assert not any(result.error for result in alone)
    assert run(runner, items) == alone
    for seed in range(3):
        order = random.Random(seed).sample(range(64), 64)
        assert run(runner, [items[index] for index in order]) == [alone[index] for index in order]
    for count in (2, 7, 8, 9, 33):
        assert run(runner, items[:count]) == alone[:count]


def test_a_translation_is_the_same_bytes_alone_and_among_others(translator: Runner) -> None:
    items = [picture_item(seed, PNG, cycle=seed % 3 == 0) for seed in range(12)]
    alone = [run(translator, [one])[0] for one in items]
    assert [result.WhichOneof("outcome") for result in alone] == ["image"] * 12
    assert run(translator, items) == alone
    assert run(translator, items[::-1]) == alone[::-1]


def test_threads_do_not_disturb_each_other(runner: Runner, translator: Runner) -> None:
    for one, items in (
        (runner, [item(seed, seed % 3, image_format=PNG) for seed in range(24)]),
        (translator, [picture_item(seed, PNG) for seed in range(6)]),
    ):
        alone = run(one, items)
        with ThreadPoolExecutor(8) as threads:
            assert all(results == alone for results in threads.map(lambda _: run(one, items), range(16)))  # noqa: B023


def test_a_png_tells_how_to_make_it_again(runner: Runner, tiny_archive: Archive) -> None:
    asked = item(7, 2, 0.5, PNG)
    asked.facts.add(key="gantry:seed", value="7")
    asked.facts.add(key="gantry:label_name", value="drei Wörter")
    result = run(runner, [asked])[0]
    assert Image.open(io.BytesIO(result.image.data)).text == {
        "gantry:model": "tiny",
        "gantry:version": "1.0.0",
        "gantry:digest": tiny_archive.digest,
        "gantry:execution": "cpu-float32-eager",
        "gantry:seed": "7",
        "gantry:label_name": "drei Wörter",
    }


def test_a_translation_tells_where_it_comes_from(translator: Runner) -> None:
    asked = picture_item(1, PNG, cycle=True)
    asked.facts.add(key="gantry:source_domain", value="horse")
    result = run(translator, [asked])[0]
    for image in (result.image, result.cycled):
        text = Image.open(io.BytesIO(image.data)).text
        assert text["gantry:model"] == "tiny-translation"
        assert text["gantry:source_domain"] == "horse"


@pytest.mark.parametrize("image_format", [PNG, RAW, JPEG, WEBP])
def test_a_picture_has_the_size_and_format_of_its_item(runner: Runner, translator: Runner, image_format: int) -> None:
    image = run(runner, [item(0, image_format=image_format)])[0].image
    assert (image.width, image.height, image.channels, image.format) == (6, 8, 1, image_format)
    if image_format != RAW:
        assert Image.open(io.BytesIO(image.data)).size == (6, 8)
    translated = run(translator, [picture_item(0, image_format, cycle=True)])[0]
    for image in (translated.image, translated.cycled):
        assert (image.width, image.height, image.channels, image.format) == (30, 20, 3, image_format)
    assert 0 < translated.cycle_l1 < 1


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (Item(format=RAW), "work: must be `generate`"),
        (picture_item(0), "work: must be `generate`"),
        (item(1, truncation=1.1), "truncation"),
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


def test_a_bad_picture_is_the_callers_fault_and_its_own(translator: Runner) -> None:
    good, bad, wrong = picture_item(1, PNG), picture_item(2, PNG), picture_item(3, PNG)
    bad.translate.image = b"no picture"
    wrong.translate.direction = 0
    results = run(translator, [good, bad, wrong, good])
    assert results[1].bad_image.startswith("the picture is not a JPEG")
    assert results[2].error.startswith("direction 0")
    assert [results[0], results[3]] == run(translator, [good]) * 2


def test_an_envelope_of_bad_items_only(runner: Runner) -> None:
    assert all(result.error for result in run(runner, [Item(), item(0, image_format=0)]))


def test_an_envelope_without_items_asks_who_is_there(runner: Runner, tiny_archive: Archive) -> None:
    reply = runner.run(worker_pb2.WorkRequest())
    assert reply.description.card_json == tiny_archive.card_json
    assert reply.execution == "cpu-float32-eager"
    assert not reply.results


def test_time_and_plan_of_an_envelope_are_told(runner: Runner, translator: Runner) -> None:
    for reply in (
        runner.run(worker_pb2.WorkRequest(items=[item(0, image_format=PNG)])),
        translator.run(worker_pb2.WorkRequest(items=[picture_item(0, PNG)])),
    ):
        assert reply.run_seconds > 0
        assert reply.encode_seconds > 0
        assert reply.execution == "cpu-float32-eager"


def test_a_graph_of_another_shape_than_the_card_is_refused_by_name(tiny_archive: Archive) -> None:
    card = models_pb2.ModelCard()
    card.CopyFrom(tiny_archive.card)
    card.image.width = 3
    with pytest.raises(ArchiveError, match=r"^model\.pt2: the graph gives pictures"):
        Runner(Archive(card, tiny_archive.card_json, tiny_archive.digest, tiny_archive.graphs))


def test_a_graph_that_cannot_be_loaded_is_refused_by_name(tiny_archive: Archive, translation_archive: Archive) -> None:
    cut = {"model.pt2": tiny_archive.graphs["model.pt2"][:-100]}
    with pytest.raises(ArchiveError, match=r"^model\.pt2: "):
        Runner(Archive(tiny_archive.card, tiny_archive.card_json, tiny_archive.digest, cut))
    half = translation_archive.graphs | {"b_to_a.pt2": b""}
    with pytest.raises(ArchiveError, match=r"^a_to_b\.pt2 or b_to_a\.pt2: not an exported program"):
        Runner(Archive(translation_archive.card, translation_archive.card_json, translation_archive.digest, half))


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="needs a C++ compiler and Python.h")
def test_a_compiled_translation_comes_close_to_float32(translation_archive: Archive, translator: Runner) -> None:
    compiled = Runner(translation_archive, "bfloat16")
    items = [picture_item(seed, cycle=True) for seed in range(6)]
    reply = compiled.run(worker_pb2.WorkRequest(items=items))
    assert reply.execution == compiled.execution == "cpu-bfloat16-inductor"
    for made, exact in zip(reply.results, run(translator, items), strict=True):
        for first, second in ((made.image, exact.image), (made.cycled, exact.cycled)):
            difference = np.frombuffer(first.data, np.uint8).astype(int) - np.frombuffer(second.data, np.uint8)
            assert np.abs(difference).mean() < 1
        assert made.cycle_l1 == pytest.approx(exact.cycle_l1, abs=1 / 255)
    assert list(reply.results) == run(compiled, items[::-1])[::-1]


@pytest.mark.parametrize("error", [RuntimeError("you tried to allocate 9 GB"), MemoryError()], ids=repr)
def test_an_item_that_the_model_fails_on_gets_its_own_error(
    error: Exception, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunk is run again, item by item."""

    def short_of_memory(graph: Any, latents: NDArray[np.float32], *others: NDArray[np.float32]) -> NDArray[np.float32]:
        if (latents == draw_latent(3, latents.shape[1])).all(axis=1).any():
            raise error
        return run_graph(graph, latents, *others)

    items = [item(seed) for seed in range(20)]
    sound = run(runner, items)
    monkeypatch.setattr("services.worker.generation.run_graph", short_of_memory)
    results = run(runner, items)
    assert results.pop(3) == worker_pb2.WorkResult(error="the model failed on the item")
    assert results == sound[:3] + sound[4:]


@pytest.mark.parametrize("threads", [1, 3])
def test_items_that_nobody_awaits_are_left_unrun(threads: int, tiny_archive: Archive) -> None:
    runner = Runner(tiny_archive, threads=threads)
    items = [item(seed) for seed in range(40)]
    for late in items[10:20]:
        late.wanted_seconds = 1e-9
    reply = runner.run(worker_pb2.WorkRequest(items=items), is_abandoned=lambda place: place % 4 == 0)
    for place, result in enumerate(reply.results):
        assert result.unrun == (place % 4 == 0 or 10 <= place < 20)
        assert result.HasField("image") == (not result.unrun)


def test_who_goes_while_an_envelope_runs_is_noticed_before_the_next_chunk(tiny_archive: Archive) -> None:
    runner, asked = Runner(tiny_archive, threads=1), []
    chunk = tiny_archive.card.execution.chunk_items

    def gone_after_the_first_chunk(place: int) -> bool:
        asked.append(place)
        return len(asked) > chunk

    items = [item(seed) for seed in range(3 * chunk)]
    results = runner.run(worker_pb2.WorkRequest(items=items), gone_after_the_first_chunk).results
    assert [result.unrun for result in results] == [False] * chunk + [True] * 2 * chunk
