"""The card of a trained run: what its folder knows, in the form that serving reads."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from gantry.v1 import models_pb2
from training.archive import ArchivingError, export_generator, export_translator, git_commit, write_archive
from training.config import CganConfig, CycleGanConfig, InfoGanConfig
from training.engine import Run, RunDir, load_run
from training.evaluation.evaluate import EVALUATION_FILE, figures_of, trained_on
from training.evaluation.result import Codes, Evaluation
from training.nets.translator import MULTIPLE


class _Content(NamedTuple):
    """What the families' archives differ in."""

    card: models_pb2.ModelCard
    graphs: dict[str, bytes]


def archive_run(run_dir: Path, out: Path, name: str, version: str) -> Path:
    """Pack the generator of an evaluated run.

    Args:
        run_dir: The run's folder.
        out: The folder to write `<name>.mar` into; made if absent.
        name: Name of the model: lower-case letters, digits and hyphens, beginning with a letter.
        version: Its version, for example "1.0.0".

    Returns:
        The archive's path.

    Raises:
        ArchivingError: The name is not allowed, or the run has not been evaluated as it stands now.
        ConfigError: There is no run.
        CheckpointError: It has no readable checkpoint.
    """
    run = load_run(run_dir)
    evaluation = _evaluation(run, run_dir)
    card, graphs = _CONTENTS[run.config.family](run, evaluation)
    card.MergeFrom(_common(run, evaluation, name, version))
    card.figures.extend(_figures(figures_of(run_dir)))
    card.created.FromDatetime(datetime.fromtimestamp(int(RunDir(run_dir).checkpoint.stat().st_mtime), UTC))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.mar"
    write_archive(path, card, graphs)
    return path


def _evaluation(run: Run, run_dir: Path) -> Evaluation:
    """The run's figures, which must be of the checkpoint that is packed."""
    path = run_dir / EVALUATION_FILE
    if not path.exists():
        raise ArchivingError(f"{run_dir} has no {EVALUATION_FILE}: run `gantry evaluate {run_dir}` first")
    try:
        evaluation = Evaluation.read(path)
    except ValidationError as error:
        raise ArchivingError(f"{path}: not of this version: run `gantry evaluate {run_dir}` again: {error}") from error
    if evaluation.protocol.get("training") != trained_on(run):
        raise ArchivingError(f"{path} is of another checkpoint: run `gantry evaluate {run_dir}` again")
    return evaluation


def _common(run: Run, evaluation: Evaluation, name: str, version: str) -> models_pb2.ModelCard:
    data = run.data
    return models_pb2.ModelCard(
        name=name,
        version=version,
        training_data=models_pb2.TrainingData(name=data.name, split="train", images=data.images, licence=data.licence),
        training_config=run.config.model_dump_json(),
        evaluation=models_pb2.Evaluation(
            metrics=[
                models_pb2.Metric(name=metric.name, value=metric.value, reference=metric.reference)
                for metric in sorted(evaluation.metrics, key=lambda metric: metric.name)
            ],
            protocol=evaluation.protocol,
        ),
        git_commit=git_commit(),
    )


def _class_conditional(run: Run, _evaluation: Evaluation) -> _Content:
    config, data = run.config, run.data
    assert isinstance(config, CganConfig)
    card = models_pb2.ModelCard(
        kind=models_pb2.MODEL_KIND_CLASS_CONDITIONAL,
        description=f"Makes {data.size}×{data.size} images of the {len(data.class_names)} classes of {data.name}.",
        image=_image(data.size, data.channels),
        classes=[models_pb2.ClassInfo(id=index, name=text) for index, text in enumerate(data.class_names)],
        latent=_latent(config.generator.latent_size),
    )
    graph = export_generator(run.generator, config.generator.latent_size, len(data.class_names))
    return _Content(card, {"model.pt2": graph})


def _code_conditional(run: Run, evaluation: Evaluation) -> _Content:
    config, data, found = run.config, run.data, evaluation.codes
    assert isinstance(config, InfoGanConfig)
    assert found is not None
    codes = config.codes
    card = models_pb2.ModelCard(
        kind=models_pb2.MODEL_KIND_CODE_CONDITIONAL,
        description=f"Makes {data.size}×{data.size} images like those of {data.name}, steered by codes that it found "
        "without labels.",
        image=_image(data.size, data.channels),
        latent=_latent(codes.noise),
        categorical_codes=_categorical_codes(found),
        continuous_codes=[
            models_pb2.ContinuousCode(
                id=f"c{number}", name=code.name, min=-1.0, max=1.0, correlations=code.correlations
            )
            for number, code in enumerate(found.continuous, 1)
        ],
    )
    graph = export_generator(run.generator, codes.noise, sum(codes.categorical) + sum(codes.continuous))
    return _Content(card, {"model.pt2": graph})


def _categorical_codes(found: Codes) -> list[models_pb2.CategoricalCode]:
    return [
        models_pb2.CategoricalCode(
            id=f"k{number}",
            name=code.name,
            values=[
                models_pb2.CodeMeaning(index=index, name=name, recall=recall)
                for index, (name, recall) in enumerate(zip(code.values, code.recalls, strict=True))
            ],
        )
        for number, code in enumerate(found.categorical, 1)
    ]


def _translation(run: Run, _evaluation: Evaluation) -> _Content:
    config = run.config
    assert isinstance(config, CycleGanConfig)
    card = models_pb2.ModelCard(
        kind=models_pb2.MODEL_KIND_TRANSLATION,
        description=f"Translates pictures between the domains {config.domain_a} and {config.domain_b}, both ways.",
        image=models_pb2.ImageSpec(channels=3, value_min=-1.0, value_max=1.0),
        translation=models_pb2.TranslationSpec(
            domain_a=config.domain_a,
            domain_b=config.domain_b,
            multiple=MULTIPLE,
            trained_side=config.crop.size,
        ),
    )
    pair = run.generator
    graphs = {
        "a_to_b.pt2": export_translator(pair.a_to_b, MULTIPLE),
        "b_to_a.pt2": export_translator(pair.b_to_a, MULTIPLE),
    }
    return _Content(card, graphs)


_CONTENTS: dict[str, Callable[[Run, Evaluation], _Content]] = {
    "cgan": _class_conditional,
    "infogan": _code_conditional,
    "cyclegan": _translation,
}


def _image(size: int, channels: int) -> models_pb2.ImageSpec:
    return models_pb2.ImageSpec(width=size, height=size, channels=channels, value_min=-1.0, value_max=1.0)


def _latent(size: int) -> models_pb2.LatentSpec:
    return models_pb2.LatentSpec(size=size, distribution=models_pb2.LATENT_DISTRIBUTION_NORMAL)


def _figures(paths: list[Path]) -> list[models_pb2.Figure]:
    return [
        models_pb2.Figure(
            name=path.stem,
            description=f"The code {path.stem.removeprefix('traversal-')} from its least value to its greatest, a row "
            "for each value of the first categorical code.",
            png=path.read_bytes(),
        )
        for path in paths
    ]
