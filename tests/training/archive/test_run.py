"""An evaluated run becomes an archive whose card says what the run's folder knows; any other run is refused."""

import io
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gantry.v1 import models_pb2, worker_pb2
from gantry.v1.generation_pb2 import DIRECTION_A_TO_B, DIRECTION_B_TO_A, IMAGE_FORMAT_PNG
from services.worker.archive import open_archive
from services.worker.execution import plan_of
from services.worker.generation import GenerationModel
from services.worker.latents import draw_latent
from services.worker.runner import Runner
from tests.training.tiny import MEANINGS, attribute_gan, dots
from training import engine
from training.archive.package import ArchivingError
from training.archive.run import archive_run
from training.config import RunConfig
from training.config.paired import PairedConfig
from training.config.translation import TranslationConfig
from training.data import sources
from training.evaluation.classifier import ClassifierConfig
from training.evaluation.directions import translate
from training.evaluation.evaluate import evaluate_run, trained_on
from training.evaluation.result import Evaluation
from training.grids import to_uint8
from training.recipes import RECIPES, parse_config

INFOGAN = (
    RECIPES["infogan"]
    .config("digits")
    .changed({"total_images": 64, "batch": 32, "tick": 64, "generator.width": 4, "discriminator.width": 4})
)


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """A judge that has learnt nothing, and few sweeps: what figures are worth does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        quick = ClassifierConfig(filters=2, features=4, images=256, steps=1)
        patch.setattr("training.evaluation.evaluate.ClassifierConfig", lambda: quick)
        patch.setattr("training.evaluation.sweeps.SWEEPS", 2)
        yield


@pytest.fixture(scope="module")
def evaluated(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an InfoGAN's run, evaluated."""
    run = tmp_path_factory.mktemp("runs") / "infogan"
    engine.train(INFOGAN, run, device="cpu")
    evaluate_run(run, samples=100)
    return run


def pack(run: Path, folder: Path, version: str = "1.0.0", **options: bool) -> Path:
    archive_run(run, folder / "numbers.mar", version, **options)
    return folder / "numbers.mar"


def test_the_card_says_what_the_folder_knows(evaluated: Path, tmp_path: Path) -> None:
    path = pack(evaluated, tmp_path / "store", "1.2.0")
    card, evaluation = open_archive(path).card, Evaluation.read(evaluated / "evaluation.json")
    assert path == tmp_path / "store" / "numbers.mar"
    assert (card.name, card.version) == ("numbers", "1.2.0")
    assert (card.training_data.name, card.training_data.split) == ("digits", "train")
    assert parse_config(card.training_config.encode()) == INFOGAN
    assert {metric.name: metric.value for metric in card.evaluation.metrics} == {
        metric.name: metric.value for metric in evaluation.metrics
    }
    assert dict(card.evaluation.protocol) == evaluation.protocol
    assert evaluation.codes is not None
    found = [tuple(value.name for value in code.values) for code in card.categorical_codes]
    assert found == [code.values for code in evaluation.codes.categorical]
    assert [code.id for code in card.continuous_codes] == ["c1", "c2"]
    assert [figure.name for figure in card.figures] == ["traversal-c1", "traversal-c2"]
    assert card.created.ToSeconds() == int(engine.load_run(evaluated).checkpoint.stat().st_mtime)


def test_a_run_gives_the_same_archive_again(evaluated: Path, tmp_path: Path) -> None:
    first, again = (pack(evaluated, tmp_path / name) for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()


def test_a_run_that_was_started_over_is_refused_until_it_is_evaluated_again(evaluated: Path, tmp_path: Path) -> None:
    """It has seen as many images as the one whose figures lie there, and has fewer codes to show."""
    run = shutil.copytree(evaluated, tmp_path / "run")
    engine.train(INFOGAN.changed({"seed": 1, "condition.continuous": "1"}), run, device="cpu", fresh=True)
    with pytest.raises(ArchivingError, match=r"evaluation\.json is of another checkpoint: run `gantry evaluate"):
        pack(run, tmp_path)
    evaluate_run(run, samples=100, cache_dir=evaluated.parent / ".cache")
    card = open_archive(pack(run, tmp_path)).card
    assert [figure.name for figure in card.figures] == ["traversal-c1"]


@pytest.mark.parametrize(
    ("packed", "evaluated_one", "fault"),
    [
        (False, True, r"is of the best checkpoint: add --best, run `gantry evaluate \S+run`, or pack it without"),
        (True, False, r"is of the last checkpoint: leave out --best, run `gantry evaluate \S+run --best`, or pack it"),
    ],
)
def test_figures_of_the_other_checkpoint_are_told_apart(
    evaluated: Path, tmp_path: Path, packed: bool, evaluated_one: bool, fault: str
) -> None:
    run = shutil.copytree(evaluated, tmp_path / "run")
    engine.train(INFOGAN.changed({"seed": 1}), tmp_path / "other", device="cpu")
    newest = engine.load_run(tmp_path / "other").checkpoint
    shutil.copy(newest, run / "best.safetensors")
    training = trained_on(engine.load_run(run, best=evaluated_one))
    Evaluation(metrics=(), protocol={"training": training}).save(run / "evaluation.json")
    with pytest.raises(ArchivingError, match=fault):
        pack(run, tmp_path, best=packed)


def test_a_run_without_readable_figures_is_refused(evaluated: Path, tmp_path: Path) -> None:
    run = shutil.copytree(evaluated, tmp_path / "run")
    (run / "evaluation.json").write_text("{}")
    with pytest.raises(ArchivingError, match=r"evaluation\.json: not of this version \(.*\): run `gantry evaluate"):
        pack(run, tmp_path)
    (run / "evaluation.json").unlink()
    with pytest.raises(ArchivingError, match=r"has no evaluation\.json: run `gantry evaluate"):
        pack(run, tmp_path)


def test_an_unevaluated_run_is_packed_where_that_is_asked_for(evaluated: Path, tmp_path: Path) -> None:
    run = shutil.copytree(evaluated, tmp_path / "run")
    (run / "evaluation.json").unlink()
    with pytest.raises(ArchivingError, match=r"or pack it without figures by --unevaluated"):
        pack(run, tmp_path)
    card = open_archive(pack(run, tmp_path, unevaluated=True)).card
    assert dict(card.evaluation.protocol) == {"evaluated": "no: packed with --unevaluated"}
    assert card.description.endswith("It was packed unevaluated: nobody measured how good its pictures are.")
    assert not card.evaluation.metrics
    assert not card.figures
    assert [len(code.values) for code in card.categorical_codes] == [10]


def archived(config: RunConfig, folder: Path, data_dir: Path | None = None):
    """The archive of a run that counts as evaluated, though without any figure."""
    engine.train(config, folder / "run", data_dir=data_dir, device="cpu")
    training = trained_on(engine.load_run(folder / "run"))
    Evaluation(metrics=(), protocol={"training": training}).save(folder / "run" / "evaluation.json")
    return open_archive(pack(folder / "run", folder))


def test_a_cgans_card_names_its_classes(tmp_path: Path) -> None:
    config = (
        RECIPES["cgan"].config("digits").changed({"total_images": 32, "batch": 32, "tick": 32, "generator.width": 4})
    )
    archive = archived(config, tmp_path)
    assert list(archive.graphs) == ["model.pt2"]
    assert [known.name for known in archive.card.classes] == [str(digit) for digit in range(10)]
    assert archive.card.latent.size == config.flat()["latent_size"]
    assert not archive.card.figures


def test_attributes_come_from_data_to_a_served_picture(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dots(count=120, attributes=True)
    monkeypatch.setitem(sources.DATASETS, "dots", lambda split, _: replace(data, split=split))
    config = attribute_gan(total_images=64, batch=32, terms__attributes__weight=1)
    engine.train(config, tmp_path / "run", device="cpu")
    evaluation = evaluate_run(tmp_path / "run", samples=90)
    assert {f"{figure}/{name}" for figure in ("attribute_r2", "spearman", "side_effect") for name in MEANINGS} <= {
        metric.name for metric in evaluation.metrics
    }

    archive = open_archive(pack(tmp_path / "run", tmp_path))

    card = archive.card
    assert (card.kind, list(card.graphs[0].inputs)) == (
        models_pb2.MODEL_KIND_CLASS_CONDITIONAL,
        ["latent", "class", *MEANINGS],
    )
    assert [(one.name, one.description, one.min, one.max) for one in card.attributes] == [
        (name, meaning, -1, 1) for name, meaning in MEANINGS.items()
    ]
    descriptions = [(figure.name, figure.description) for figure in card.figures]
    assert descriptions == [
        (f"traversal-{name}", f"The attribute {name} from its least value to its greatest, a row for some classes.")
        for name in sorted(MEANINGS)
    ]
    condition = [0.0, 1.0, 0.0, 0.5, -1.0]
    served = GenerationModel(archive, plan_of(card, "float32", "cpu"))
    (picture,) = served.values_of([worker_pb2.GenerateWork(seed=7, condition=condition, truncation=1)])
    latent = torch.from_numpy(draw_latent(7, card.latent.size))[None]
    expected = engine.load_run(tmp_path / "run").generator(latent, torch.tensor([condition]))
    torch.testing.assert_close(torch.from_numpy(picture), expected[0].movedim(0, -1), rtol=0, atol=1e-4)


def test_a_cyclegans_card_names_its_domains(tmp_path: Path) -> None:
    for domain in ("trainA", "trainB"):
        (tmp_path / "own" / domain).mkdir(parents=True)
        for number in range(3):  # one to train on, one for each of the splits that are held out
            Image.new("RGB", (32, 32), "brown").save(tmp_path / "own" / domain / f"{number}.png")
    config = TranslationConfig(
        recipe="cyclegan", data="own", total_images=1, tick=1, domain_a="horse", domain_b="zebra"
    ).changed(
        {"generator.width": 2, "generator.blocks": 1, "discriminator.width": 2}
        | {f"crop.{name}": 32 for name in ("size", "min_side", "max_side")}
    )
    archive = archived(config, tmp_path, tmp_path)
    with zipfile.ZipFile(tmp_path / "numbers.mar") as file:  # where the pictures were is nobody's business
        assert not any(str(tmp_path).encode() in file.read(member) for member in file.namelist())
    assert sorted(archive.graphs) == ["a_to_b.pt2", "b_to_a.pt2"]
    translation = archive.card.translation
    assert (translation.domain_a, translation.domain_b, translation.trained_side) == ("horse", "zebra", 32)
    assert archive.card.training_data.images == 2


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_pix2pix_is_served_one_way_at_every_size(tmp_path: Path) -> None:
    """Sides are padded to 2^3, and what a worker makes is what the run's net makes of the padded picture."""
    noise = np.random.default_rng(0)
    (tmp_path / "own" / "train").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "own" / "train" / f"{number}.png").write_bytes(png(noise.integers(0, 256, (32, 64, 3), np.uint8)))
    config = PairedConfig(
        recipe="pix2pix", data="own", total_images=4, tick=4, domain_a="photo", domain_b="map", direction="b_to_a",
        precision="float32",
    ).changed(
        {"generator.width": 2, "generator.depth": 3, "discriminator.width": 2}
        | {f"crop.{name}": 32 for name in ("size", "min_side", "max_side")}
    )  # fmt: skip
    archive = archived(config, tmp_path, tmp_path)
    assert list(archive.graphs) == ["b_to_a.pt2"]
    (graph,) = archive.card.graphs
    assert (graph.source_domain, graph.target_domain) == ("map", "photo")
    assert (archive.card.translation.multiple, archive.card.translation.trained_side) == (8, 32)

    runner, net = Runner(archive, "float32"), engine.load_run(tmp_path / "run").generator["b_to_a"]
    for height, width in ((32, 32), (17, 30), (40, 23)):
        sent = noise.integers(0, 256, (height, width, 3), np.uint8)
        items = [
            worker_pb2.WorkItem(
                translate=worker_pb2.TranslateWork(image=png(sent), direction=way, max_pixels=1 << 20),
                format=IMAGE_FORMAT_PNG,
            )
            for way in (DIRECTION_B_TO_A, DIRECTION_A_TO_B, DIRECTION_B_TO_A)
        ]
        made, refused, again = runner.run(worker_pb2.WorkRequest(items=items)).results
        assert "direction" in refused.error
        assert made == again  # dropout is for training alone
        floats = torch.from_numpy(sent).permute(2, 0, 1).float() / 127.5 - 1
        wanted = to_uint8(translate(net, floats, config.multiple)).permute(1, 2, 0).numpy()
        served = np.asarray(Image.open(io.BytesIO(made.image.data)))
        assert np.abs(served.astype(int) - wanted).max() <= 1
