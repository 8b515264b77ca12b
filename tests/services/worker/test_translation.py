"""Pictures through real translators: any size, any company, both ways and back."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gantry.v1 import worker_pb2
from gantry.v1.generation_pb2 import DIRECTION_A_TO_B, DIRECTION_B_TO_A
from services.worker.archive import Archive
from services.worker.execution import FLOAT32
from services.worker.graph import load_graph
from services.worker.imaging import Pixels
from services.worker.outcome import Outcome, RawPicture
from services.worker.translation import TranslationModel
from tests.archives import MULTIPLE, tiny_translation_card
from training.archive.export import export_translator
from training.archive.package import TRANSLATION_EXECUTION

ANY = 1 << 20
SIZES = [(16, 16), (17, 31), (31, 17), (57, 100), (64, 64), (16, 200)]

Work = worker_pb2.TranslateWork
Item = worker_pb2.WorkItem


@pytest.fixture(scope="session")
def translation(translation_archive: Archive) -> TranslationModel:
    return TranslationModel(translation_archive, FLOAT32)


class Same(nn.Module):
    """The picture as it came."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures * 1.0


class Darker(nn.Module):
    """Every value lowered by 20 of 255 steps."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures - 40 / 255


class SizeOf(nn.Module):
    """A picture as bright as the working picture is large: a step of 255 for every four pixels of a side."""

    def forward(self, pictures: Tensor) -> Tensor:
        steps = torch.ones_like(pictures).mean(dim=1, keepdim=True).sum(dim=(2, 3), keepdim=True) / 16
        return 2 / 255 * steps - 1 + 0 * pictures


def model_of(a_to_b: nn.Module, b_to_a: nn.Module, multiple: int = MULTIPLE) -> TranslationModel:
    card = tiny_translation_card()
    card.translation.multiple = multiple
    card.execution.CopyFrom(TRANSLATION_EXECUTION)
    graphs = {"a_to_b.pt2": export_translator(a_to_b, multiple), "b_to_a.pt2": export_translator(b_to_a, multiple)}
    return TranslationModel(Archive(card, b"{}", "0" * 64, graphs), FLOAT32)


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def work(pixels: Pixels, direction: int = DIRECTION_A_TO_B, max_side: int = 0, cycle: bool = False) -> Item:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    translate = Work(image=buffer.getvalue(), direction=direction, max_side=max_side, cycle=cycle, max_pixels=ANY)
    return Item(translate=translate)


def make(model: TranslationModel, *items: Item) -> list[RawPicture]:
    assert not any(model.find_fault(item) for item in items)
    outcomes = model.make(items)
    assert all(isinstance(outcome, RawPicture) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, RawPicture)]


def same(first: Outcome, second: Outcome) -> bool:
    assert isinstance(first, RawPicture)
    assert isinstance(second, RawPicture)
    cycled = first.cycled is second.cycled is None or np.array_equal(first.cycled, second.cycled)
    return np.array_equal(first.pixels, second.pixels) and cycled and first.cycle_l1 == second.cycle_l1


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("multiple", [4, 24, 256])
def test_an_identity_gives_every_picture_back(
    height: int, width: int, multiple: int, identities: dict[int, TranslationModel]
) -> None:
    sent = picture(height, width)
    (made,) = make(identities[multiple], work(sent, cycle=True))
    assert np.array_equal(made.pixels, sent)
    assert made.cycled is not None
    assert np.array_equal(made.cycled, sent)
    assert made.cycle_l1 == 0


@pytest.fixture(scope="session")
def identities() -> dict[int, TranslationModel]:
    """By the multiple that they ask for."""
    return {multiple: model_of(Same(), Same(), multiple) for multiple in (4, 24, 256)}


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_picture_keeps_its_size_and_the_directions_differ(
    translation: TranslationModel, height: int, width: int
) -> None:
    sent = picture(height, width)
    there, back = make(translation, work(sent), work(sent, DIRECTION_B_TO_A))
    assert there.pixels.shape == back.pixels.shape == sent.shape
    assert np.abs(there.pixels.astype(int) - back.pixels).mean() > 5


def test_a_picture_is_the_same_alone_and_among_others(translation: TranslationModel) -> None:
    items = [
        work(picture(*SIZES[number % len(SIZES)], seed=number), 1 + number % 2, 32 * (number % 3), number % 2 == 0)
        for number in range(12)
    ]
    alone = [make(translation, item)[0] for item in items]
    assert all(same(*pair) for pair in zip(make(translation, *items), alone, strict=True))
    assert all(same(*pair) for pair in zip(make(translation, *items[::-1]), alone[::-1], strict=True))


def test_a_multiple_of_the_net_goes_in_unpadded(translation: TranslationModel, translation_archive: Archive) -> None:
    sent = picture(64, 28)
    values = torch.from_numpy(sent.astype(np.float32) * np.float32(2 / 255) - 1).permute(2, 0, 1)[None]
    with torch.inference_mode():
        made = load_graph(translation_archive.graphs["b_to_a.pt2"])(values)[0].permute(1, 2, 0).numpy()
    expected = np.rint((made + 1) * 127.5).clip(0, 255)
    (given,) = make(translation, work(sent, DIRECTION_B_TO_A))
    assert np.abs(given.pixels - expected).max() <= 1


def test_the_cycled_picture_goes_through_both_nets_unrounded() -> None:
    sent = np.full((20, 30, 3), 100, np.uint8)
    model = model_of(Darker(), Same())
    there, back = make(model, work(sent, cycle=True), work(sent, DIRECTION_B_TO_A, cycle=True))
    assert (there.pixels == 80).all()
    assert (back.pixels == 100).all()
    assert there.cycle_l1 == back.cycle_l1 == pytest.approx(20 / 255)
    # Below the range there is nothing in a file, but the nets see it.
    twice = model_of(Darker(), Brighter())
    (dark,) = make(twice, work(np.full((20, 30, 3), 10, np.uint8), cycle=True))
    assert (dark.pixels == 0).all()
    assert dark.cycle_l1 == 0


class Brighter(nn.Module):
    """Undoes `Darker`."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures + 40 / 255


def test_without_cycle_there_is_none(translation: TranslationModel) -> None:
    (made,) = make(translation, work(picture(20, 20)))
    assert made.cycled is None
    assert made.cycle_l1 is None


@pytest.mark.parametrize(
    ("size", "max_side", "worked"),
    [
        ((60, 60), 0, (60, 60)),
        ((60, 60), 60, (60, 60)),
        ((60, 60), 100, (60, 60)),
        ((60, 60), 32, (32, 32)),
        ((120, 60), 40, (40, 20)),
        ((60, 121), 40, (20, 40)),
        ((200, 20), 20, (20, 16)),
        ((61, 61), 17, (20, 20)),
    ],
)
def test_max_side_limits_what_the_net_works_on(
    size: tuple[int, int], max_side: int, worked: tuple[int, int], measuring: TranslationModel
) -> None:
    (made,) = make(measuring, work(picture(*size), max_side=max_side))
    assert made.pixels.shape == (*size, 3)
    assert (made.pixels == worked[0] * worked[1] // 16).all()


@pytest.fixture(scope="session")
def measuring() -> TranslationModel:
    return model_of(SizeOf(), SizeOf())


def test_a_picture_that_was_made_smaller_is_scaled_back(identities: dict[int, TranslationModel]) -> None:
    rows, columns = np.mgrid[0:90, 0:120]
    smooth = np.repeat((rows + columns).astype(np.uint8)[..., None], 3, axis=2)
    (made,) = make(identities[4], work(smooth, max_side=60, cycle=True))
    assert made.pixels.shape == smooth.shape
    assert np.abs(made.pixels.astype(int) - smooth).mean() < 1
    assert made.cycle_l1 is not None
    assert 0 < made.cycle_l1 < 1 / 255


def test_a_bad_picture_gets_its_own_error_and_its_neighbours_their_pictures(translation: TranslationModel) -> None:
    good = [work(picture(20, 30, seed)) for seed in range(3)]
    cut, large = Item(), Item()
    cut.CopyFrom(good[0])
    cut.translate.image = cut.translate.image[:-500]
    large.CopyFrom(good[0])
    large.translate.max_pixels = 599
    first, torn, second, over, third = translation.make([good[0], cut, good[1], large, good[2]])
    assert torn == worker_pb2.WorkResult(bad_image="the picture is damaged or cut off")
    assert over == worker_pb2.WorkResult(bad_image="the picture has 30×20 = 600 pixels; at most 599 are allowed")
    assert all(same(*pair) for pair in zip([first, second, third], make(translation, *good), strict=True))


def test_values_that_are_not_finite_fail_their_item_only() -> None:
    class Logarithm(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return torch.log(pictures + 0.5)

    model = model_of(Logarithm(), Same())
    bright, dark = np.full((16, 16, 3), 200, np.uint8), np.zeros((16, 16, 3), np.uint8)
    outcomes = model.make([work(bright), work(dark), work(dark, DIRECTION_B_TO_A, cycle=True)])
    fault = worker_pb2.WorkResult(error="the model gave values that are not finite")
    assert [outcome == fault for outcome in outcomes] == [False, True, True]


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (Item(), "work: must be `translate` for this model"),
        (Item(generate=worker_pb2.GenerateWork()), "work: must be `translate` for this model"),
        (Item(translate=Work()), "direction 0: must be DIRECTION_A_TO_B or DIRECTION_B_TO_A"),
        (Item(translate=Work(direction=9)), "direction 9: must be DIRECTION_A_TO_B or DIRECTION_B_TO_A"),
        (Item(translate=Work(direction=1, max_side=15)), "max_side 15: must be at least 16, or 0"),
    ],
)
def test_faults_are_named(translation: TranslationModel, item: Item, fault: str) -> None:
    assert translation.find_fault(item) == fault


def test_a_model_of_one_way_translates_that_way_alone(one_way_archive: Archive) -> None:
    model = TranslationModel(one_way_archive, FLOAT32)
    (made,) = make(model, work(picture(20, 30)))
    assert made.pixels.shape == (20, 30, 3)
    assert model.find_fault(work(picture(20, 30), DIRECTION_B_TO_A)) == "direction 2: must be DIRECTION_A_TO_B"
    told = model.find_fault(work(picture(20, 30), cycle=True))
    assert told == "cycle: must be false, since the model translates one way"


def test_the_domains_of_a_graph_say_which_way_it_goes(
    translation_archive: Archive, translation: TranslationModel
) -> None:
    card = tiny_translation_card()
    for graph in card.graphs:
        graph.source_domain, graph.target_domain = graph.target_domain, graph.source_domain
    turned = TranslationModel(Archive(card, b"{}", "0" * 64, translation_archive.graphs), FLOAT32)
    (there,) = make(translation, work(picture(20, 30)))
    (back,) = make(turned, work(picture(20, 30), DIRECTION_B_TO_A))
    assert same(there, back)


def test_a_graph_that_changes_the_size_is_refused() -> None:
    class Half(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return nn.functional.avg_pool2d(pictures, 2)

    with pytest.raises(ValueError, match=r"the graph gives pictures \[H, W, C\] = \(16, 24, 3\)"):
        model_of(Same(), Half())
