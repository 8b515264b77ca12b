"""The card of a trained run: what its folder knows, in the form that serving reads."""

from datetime import UTC, datetime
from pathlib import Path

from gantry.v1 import models_pb2
from training.archive import ArchivingError, export_graph, git_commit, write_archive
from training.engine import Run, RunDir, load_run
from training.evaluation.evaluate import EVALUATION_FILE, trained_on
from training.evaluation.result import Evaluation

_KINDS = {"cgan": models_pb2.MODEL_KIND_CLASS_CONDITIONAL}


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
    card = _card(run, _evaluation(run, run_dir), name, version)
    card.created.FromDatetime(datetime.fromtimestamp(int(RunDir(run_dir).checkpoint.stat().st_mtime), UTC))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.mar"
    write_archive(path, card, export_graph(run.generator, run.config.generator.latent_size))
    return path


def _evaluation(run: Run, run_dir: Path) -> Evaluation:
    """The run's figures, which must be of the checkpoint that is packed."""
    path = run_dir / EVALUATION_FILE
    if not path.exists():
        raise ArchivingError(f"{run_dir} has no {EVALUATION_FILE}: run `gantry evaluate {run_dir}` first")
    evaluation = Evaluation.read(path)
    if evaluation.protocol.get("training") != trained_on(run):
        raise ArchivingError(f"{path} is of another checkpoint: run `gantry evaluate {run_dir}` again")
    return evaluation


def _card(run: Run, evaluation: Evaluation, name: str, version: str) -> models_pb2.ModelCard:
    data = run.data
    return models_pb2.ModelCard(
        name=name,
        version=version,
        kind=_KINDS[run.config.family],
        description=f"Makes {data.size}×{data.size} images of the {len(data.class_names)} classes of {data.name}.",
        image=models_pb2.ImageSpec(
            width=data.size, height=data.size, channels=data.channels, value_min=-1.0, value_max=1.0
        ),
        classes=[models_pb2.ClassInfo(id=index, name=text) for index, text in enumerate(data.class_names)],
        latent=models_pb2.LatentSpec(
            size=run.config.generator.latent_size, distribution=models_pb2.LATENT_DISTRIBUTION_NORMAL
        ),
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
