"""Pack a trained run: its card says what the run's folder knows, in the form that serving reads."""

from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from gantry.v1 import models_pb2
from training.archive.export import export_graph
from training.archive.package import ArchivingError, git_commit, list_graphs, write_archive
from training.engine import CheckpointError, Run, load_run
from training.evaluation.evaluate import EVALUATION_FILE, figures_of, trained_on
from training.evaluation.result import Evaluation


def archive_run(
    run_dir: Path, path: Path, version: str, *, unevaluated: bool = False, best: bool = False, description: str = ""
) -> None:
    """Pack the generator of a run.

    Args:
        run_dir: The run's folder.
        path: The archive to write, `<name of the model>.mar`.
        version: Version of the model, for example "1.0.0".
        unevaluated: Whether to pack it without any figure, which the card then says; else it must be evaluated.
        best: Whether to pack the checkpoint with the lowest validation figure instead of the last one.
        description: What the card says of the model; empty for what its recipe says.

    Raises:
        ArchivingError: The run has not been evaluated as it stands now.
        ConfigError: There is no run.
        CheckpointError: It has no readable checkpoint.
    """
    run = load_run(run_dir, best=best)
    data = run.data
    evaluation = None if unevaluated else _evaluation(run, run_dir, best=best)
    card = run.config.card(data, evaluation.codes if evaluation else None)
    card.name, card.version = path.stem, version
    card.description = description or card.description
    card.training_data.name, card.training_data.licence = data.name, data.licence
    card.training_data.split, card.training_data.images = "train", data.images
    card.training_config, card.git_commit = run.config.model_dump_json(), git_commit()
    if evaluation:
        metrics = sorted(evaluation.metrics, key=lambda metric: metric.name)
        card.evaluation.metrics.extend(models_pb2.Metric(**metric.model_dump()) for metric in metrics)
        card.evaluation.protocol.update(evaluation.protocol)
        attributes = {attribute.name for attribute in card.attributes}
        card.figures.extend(_figure(path, attributes) for path in figures_of(run_dir))
    else:
        card.description += " It was packed unevaluated: nobody measured how good its pictures are."
        card.evaluation.protocol["evaluated"] = "no: packed with --unevaluated"
    card.created.FromSeconds(int(run.checkpoint.stat().st_mtime))
    nets = run.config.graphs(run.generator)
    list_graphs(card, nets)
    write_archive(path, card, {graph.member: export_graph(nets[graph.member], card, graph) for graph in card.graphs})


def _evaluation(run: Run, run_dir: Path, *, best: bool) -> Evaluation:
    """The run's figures, which must be of the checkpoint that is packed."""
    path = run_dir / EVALUATION_FILE
    evaluate = f"run `gantry evaluate {run_dir}{' --best' if best else ''}`"
    unevaluated = "pack it without figures by --unevaluated"
    try:
        evaluation = Evaluation.read(path)
    except FileNotFoundError as error:
        raise ArchivingError(f"{run_dir} has no {EVALUATION_FILE}: {evaluate} first, or {unevaluated}") from error
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise ArchivingError(f"{path}: not of this version ({fault}): {evaluate} again, or {unevaluated}") from error
    training = evaluation.protocol.get("training")
    if training == trained_on(run):
        return evaluation
    with suppress(CheckpointError):
        if training == trained_on(load_run(run_dir, best=not best)):
            of, change = ("last", "leave out --best") if best else ("best", "add --best")
            raise ArchivingError(f"{path} is of the {of} checkpoint: {change}, {evaluate}, or {unevaluated}")
    raise ArchivingError(f"{path} is of another checkpoint: {evaluate} again, or {unevaluated}")


def _figure(path: Path, attributes: Container[str]) -> models_pb2.Figure:
    name = path.stem.removeprefix("traversal-")
    what, rows = (
        ("attribute", "some classes") if name in attributes else ("code", "each value of the first categorical code")
    )
    shown = f"The {what} {name} from its least value to its greatest, a row for {rows}."
    return models_pb2.Figure(name=path.stem, description=shown, png=path.read_bytes())
