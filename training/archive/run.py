"""Pack a trained run: its card says what the run's folder knows, in the form that serving reads."""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from gantry.v1 import models_pb2
from training.archive.export import export_graph
from training.archive.package import ArchivingError, git_commit, list_graphs, write_archive
from training.engine import Run, load_run
from training.evaluation.evaluate import EVALUATION_FILE, figures_of, trained_on
from training.evaluation.result import Evaluation

_UNEVALUATED = "It was packed unevaluated: nobody measured how good its pictures are."


def archive_run(
    run_dir: Path,
    out: Path,
    name: str,
    version: str,
    *,
    unevaluated: bool = False,
    best: bool = False,
    description: str | None = None,
) -> Path:
    """Pack the generator of a run.

    Args:
        run_dir: The run's folder.
        out: The folder to write `<name>.mar` into; made if absent.
        name: Name of the model: lower-case letters, digits and hyphens, beginning with a letter.
        version: Its version, for example "1.0.0".
        unevaluated: Whether to pack it without any figure, which the card then says; else it must be evaluated.
        best: Whether to pack the checkpoint with the lowest validation figure instead of the last one.
        description: What the card says of the model; what its recipe says where None.

    Returns:
        The archive's path.

    Raises:
        ArchivingError: The name is not allowed, or the run has not been evaluated as it stands now.
        ConfigError: There is no run.
        CheckpointError: It has no readable checkpoint.
    """
    run = load_run(run_dir, best=best)
    evaluation = None if unevaluated else _evaluation(run, run_dir)
    card = run.config.card(run.data, evaluation.codes if evaluation else None)
    card.description = description or card.description
    card.MergeFrom(_common(run, name, version))
    if evaluation:
        card.evaluation.CopyFrom(_figures(evaluation))
        card.figures.extend(_pictures(figures_of(run_dir)))
    else:
        card.description += f" {_UNEVALUATED}"
        card.evaluation.protocol["evaluated"] = "no: packed with --unevaluated"
    card.created.FromDatetime(datetime.fromtimestamp(int(run.checkpoint.stat().st_mtime), UTC))
    nets = run.config.graphs(run.generator)
    list_graphs(card, nets)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.mar"
    write_archive(path, card, {graph.member: export_graph(nets[graph.member], card, graph) for graph in card.graphs})
    return path


def _evaluation(run: Run, run_dir: Path) -> Evaluation:
    """The run's figures, which must be of the checkpoint that is packed."""
    path = run_dir / EVALUATION_FILE
    otherwise = f"run `gantry evaluate {run_dir}` {{}}, or pack it without figures by --unevaluated"
    if not path.exists():
        raise ArchivingError(f"{run_dir} has no {EVALUATION_FILE}: {otherwise.format('first')}")
    try:
        evaluation = Evaluation.read(path)
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise ArchivingError(f"{path}: not of this version ({fault}): {otherwise.format('again')}") from error
    if evaluation.protocol.get("training") != trained_on(run):
        raise ArchivingError(f"{path} is of another checkpoint: {otherwise.format('again')}")
    return evaluation


def _common(run: Run, name: str, version: str) -> models_pb2.ModelCard:
    data = run.data
    return models_pb2.ModelCard(
        name=name,
        version=version,
        training_data=models_pb2.TrainingData(name=data.name, split="train", images=data.images, licence=data.licence),
        training_config=run.config.model_dump_json(),
        git_commit=git_commit(),
    )


def _figures(evaluation: Evaluation) -> models_pb2.Evaluation:
    metrics = sorted(evaluation.metrics, key=lambda metric: metric.name)
    return models_pb2.Evaluation(
        metrics=[models_pb2.Metric(name=one.name, value=one.value, reference=one.reference) for one in metrics],
        protocol=evaluation.protocol,
    )


def _pictures(paths: list[Path]) -> list[models_pb2.Figure]:
    return [
        models_pb2.Figure(
            name=path.stem,
            description=f"The code {path.stem.removeprefix('traversal-')} from its least value to its greatest, a row "
            "for each value of the first categorical code.",
            png=path.read_bytes(),
        )
        for path in paths
    ]
