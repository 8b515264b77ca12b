"""Latents and conditions through real graphs: the same values wherever an item rides."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gantry.v1 import models_pb2, worker_pb2
from services.worker.archive import Archive, open_archive
from services.worker.execution import FLOAT32
from services.worker.generation import GenerationModel
from services.worker.inputs import condition_bounds
from services.worker.latents import draw_latent
from services.worker.outcome import Outcome, RawPicture
from tests.archives import CLASS_NAMES, LATENT_SIZE, TinyGenerator, tiny_card
from training.archive.export import export_generator
from training.archive.package import LATENT_EXECUTION

Work = worker_pb2.GenerateWork
Item = worker_pb2.WorkItem


@pytest.fixture(scope="session")
def generation(tiny_archive: Archive) -> GenerationModel:
    return GenerationModel(tiny_archive, FLOAT32)


def make(generation: GenerationModel, items: Sequence[Item]) -> list[Outcome]:
    """Make any number of pictures, a chunk at a time."""
    size = generation.chunk_items
    return [outcome for start in range(0, len(items), size) for outcome in generation.make(items[start : start + size])]


def one_hot(label: int, size: int = len(CLASS_NAMES)) -> list[float]:
    return [float(index == label) for index in range(size)]


def item(seed: int, label: int = 0, truncation: float = 1.0) -> Item:
    return Item(generate=Work(seed=seed, condition=one_hot(label), truncation=truncation))


def archive_of(module: nn.Module) -> Archive:
    """An archive of a module, without the detour over a file."""
    card = tiny_card()
    card.execution.CopyFrom(LATENT_EXECUTION)
    return Archive(card, b"{}", "0" * 64, {"model.pt2": export_generator(module, LATENT_SIZE, len(CLASS_NAMES))})


def pixels_of(outcomes: list[Outcome]) -> list[bytes]:
    pictures = [outcome for outcome in outcomes if isinstance(outcome, RawPicture)]
    assert len(pictures) == len(outcomes)
    return [picture.pixels.tobytes() for picture in pictures]


class BatchStatistics(TinyGenerator):
    """What a forgotten `eval()` makes of batch normalisation: every row has an effect on all others."""

    def forward(self, latents: Tensor, condition: Tensor) -> Tensor:
        return super().forward(latents / (latents.std(dim=0, correction=0) + 0.1), condition)


class Formula(nn.Module):
    """Pictures of 8×6 with one value each: a function of the first latent value and the label."""

    def __init__(self, value: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.value = value

    def forward(self, latents: Tensor, condition: Tensor) -> Tensor:
        label = (condition * torch.arange(3)).sum(dim=1)
        return self.value(latents[:, 0], label).view(-1, 1, 1, 1) + torch.zeros(1, 1, 8, 6)


@pytest.mark.parametrize("rows", ["sound", "mixing"])
def test_values_are_the_same_at_any_place(rows: str, generation: GenerationModel) -> None:
    """Exact for the graph's own values too: pixels would hide a difference in the last bit."""
    mixing = archive_of(BatchStatistics(channels=1, seed=0))
    model = generation if rows == "sound" else GenerationModel(mixing, FLOAT32)
    assert model.chunk_items == (8 if rows == "sound" else 1)
    works = [item(seed, seed % 3).generate for seed in range(model.chunk_items)]
    alone = np.concatenate([model.values_of([work]) for work in works])
    assert np.array_equal(model.values_of(works), alone)
    assert np.array_equal(model.values_of(works[::-1])[::-1], alone)
    assert np.array_equal(model.values_of(works[:5]), alone[:5])


def test_a_picture_is_that_of_its_latent_and_condition() -> None:
    module = TinyGenerator(channels=1, seed=3).eval()
    model = GenerationModel(archive_of(module), FLOAT32)
    condition = [0.25, 0.0, 0.75]
    (values,) = model.values_of([Work(seed=5, condition=condition, truncation=0.5)])
    with torch.inference_mode():
        expected = module(torch.from_numpy(draw_latent(5, LATENT_SIZE) * 0.5)[None], torch.tensor([condition]))
    np.testing.assert_allclose(values[..., 0], expected[0, 0].numpy(), rtol=1e-4, atol=1e-5)


def test_seeds_conditions_and_truncations_make_a_difference(generation: GenerationModel) -> None:
    items = [item(1), item(2), item(1, label=1), item(1, truncation=0.5)]
    assert len(set(pixels_of(make(generation, items)))) == len(items)


def test_truncation_zero_gives_one_picture_per_class(generation: GenerationModel) -> None:
    items = [item(seed, label, truncation=0.0) for label in range(3) for seed in range(4)]
    assert len(set(pixels_of(make(generation, items)))) == 3


def test_the_ends_of_a_walk_are_the_pictures_of_its_seeds(generation: GenerationModel) -> None:
    walk = [
        Item(
            generate=Work(
                slerp=worker_pb2.Slerp(from_seed=1, to_seed=2, position=position), condition=one_hot(0), truncation=1
            )
        )
        for position in (0.0, 0.5, 1.0)
    ]
    first, middle, last = pixels_of(make(generation, walk))
    assert [first, last] == pixels_of(make(generation, [item(1), item(2)]))
    assert middle not in (first, last)


def test_a_sum_of_latents_makes_a_picture(generation: GenerationModel) -> None:
    terms = [worker_pb2.LatentTerm(seeds=[1, 1], weight=1.0)]
    summed = Item(generate=Work(sum=worker_pb2.LatentSum(terms=terms), condition=one_hot(0), truncation=1))
    assert pixels_of(make(generation, [summed])) == pixels_of(make(generation, [item(1)]))


def test_every_code_makes_a_difference(code_mar: Path) -> None:
    archive = open_archive(code_mar)
    model = GenerationModel(archive, FLOAT32)
    conditions = [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0.9, 0], [1, 0, 0, 0, -0.9]]
    items = [Item(generate=Work(seed=0, condition=condition, truncation=1)) for condition in conditions]
    assert not any(model.find_fault(item) for item in items)
    assert len(set(pixels_of(make(model, items)))) == len(items)


def test_a_graph_of_latents_alone_takes_no_condition(plain_archive: Archive) -> None:
    model = GenerationModel(plain_archive, FLOAT32)
    items = [Item(generate=Work(seed=seed, truncation=1)) for seed in range(11)]
    assert not any(model.find_fault(item) for item in items)
    made = pixels_of(make(model, items))
    assert len(set(made)) == len(items)
    assert pixels_of(make(model, items[9:10])) == made[9:10]
    told = model.find_fault(Item(generate=Work(seed=1, condition=[1.0], truncation=1)))
    assert told == "condition of 1 values: must be 0"


def test_every_attribute_makes_a_difference(attribute_archive: Archive) -> None:
    model = GenerationModel(attribute_archive, FLOAT32)
    conditions = [[0, 18], [1, 18], [0, 80], [0.5, 49]]
    items = [Item(generate=Work(seed=0, condition=condition, truncation=1)) for condition in conditions]
    assert not any(model.find_fault(item) for item in items)
    assert len(set(pixels_of(make(model, items)))) == len(items)


def test_the_value_range_of_the_card_becomes_pixels() -> None:
    archive = archive_of(Formula(lambda latents, labels: labels - 2.0 + 0 * latents))
    archive.card.image.value_max = 3.0
    model = GenerationModel(archive, FLOAT32)
    # 0 is a quarter of the way from -1 to 3.
    assert pixels_of(make(model, [item(0, label) for label in range(3)])) == [
        bytes([value]) * 48 for value in (0, 0, 64)
    ]


def test_values_that_are_not_finite_fail_their_item_only() -> None:
    model = GenerationModel(archive_of(Formula(lambda latents, labels: 0 * latents + torch.log(labels - 1))), FLOAT32)
    outcomes = make(model, [item(0, 2), item(0, 1), item(0, 0), item(1, 2)])
    fault = worker_pb2.WorkResult(error="the model gave values that are not finite")
    assert [outcome == fault for outcome in outcomes] == [False, True, True, False]


@pytest.mark.parametrize(
    ("work", "fault"),
    [
        (Work(seed=1, condition=[1, 0], truncation=1), "condition of 2 values: must be 3"),
        (Work(seed=1, truncation=1), "condition of 0 values: must be 3"),
        (Work(seed=1, condition=[1, math.nan, 0], truncation=1), "condition: must be finite"),
        (Work(seed=1, condition=one_hot(0), truncation=-0.5), "truncation -0.5: must be 0 to 1"),
        (Work(seed=1, condition=one_hot(0), truncation=1.5), "truncation 1.5: must be 0 to 1"),
        (Work(seed=1, condition=one_hot(0), truncation=math.nan), "truncation nan: must be 0 to 1"),
        (Work(condition=one_hot(0), truncation=1), "latent: must be a seed, slerp or sum"),
    ],
)
def test_faults_are_named(generation: GenerationModel, work: Work, fault: str) -> None:
    assert generation.find_fault(Item(generate=work)) == fault


def test_work_of_another_kind_is_a_fault(generation: GenerationModel) -> None:
    assert (
        generation.find_fault(Item(translate=worker_pb2.TranslateWork())) == "work: must be `generate` for this model"
    )
    assert generation.find_fault(Item()) == "work: must be `generate` for this model"


@pytest.mark.parametrize("field", ["width", "height", "channels"])
def test_a_graph_of_another_shape_than_the_card_is_refused(tiny_archive: Archive, field: str) -> None:
    card = models_pb2.ModelCard()
    card.CopyFrom(tiny_archive.card)
    setattr(card.image, field, 3)
    with pytest.raises(ValueError, match=r"the graph gives pictures \[N, H, W, C\] = \(8, 8, 6, 1\), the card says"):
        GenerationModel(Archive(card, b"", "", tiny_archive.graphs), FLOAT32)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_graph_of_another_latent_or_condition_than_the_card_is_refused(tiny_archive: Archive, change: int) -> None:
    other_latent, other_classes = models_pb2.ModelCard(), models_pb2.ModelCard()
    for card in (other_latent, other_classes):
        card.CopyFrom(tiny_archive.card)
    other_latent.latent.size += change
    if change > 0:
        other_classes.classes.add(id=3, name="unknown to the graph")
    else:
        del other_classes.classes[2]
    assert len(condition_bounds(other_classes)) == len(CLASS_NAMES) + change
    for card in (other_latent, other_classes):
        with pytest.raises(RuntimeError):
            GenerationModel(Archive(card, b"", "", tiny_archive.graphs), FLOAT32)
