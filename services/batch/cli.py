"""`gantry batch`: what a user types, as arguments of the batch commands."""

from typing import Annotated

import typer

from services.batch.calling import DEFAULT_PATIENCE
from services.batch.copying_cli import copy
from services.batch.faults import JobError
from services.batch.options import (
    Address,
    Bar,
    Concurrency,
    Embedded,
    MaxFailures,
    ModelStore,
    Overwrite,
    Patience,
    Pushgateway,
    PushLabels,
    ShardText,
    read_push_labels,
    read_shard,
)
from services.batch.running import DEFAULT_MODEL_STORE, JobRun, exit_code_of
from services.batch.sample_cli import sample
from services.batch.status import status_of_job
from services.batch.storage import open_store
from services.batch.translate import Request
from services.batch.translate_job import earlier_request
from services.batch.translate_job import translate as run_translate
from services.client import Direction, Format
from services.client.connection import DEFAULT_ADDRESS

ManifestFolder = Annotated[
    str | None, typer.Option("--manifest", help="Folder or URL that keeps the manifest. Default: OUT.")
]
app = typer.Typer(no_args_is_help=True, help="Jobs over thousands of pictures, which can be killed and started again.")


@app.command()
def translate(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or URL that outputs go to.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, files, globs, tar or zip archives, by path or URL; or @list.txt, @list.jsonl."),
    ] = None,
    lists: Annotated[
        list[str] | None, typer.Option("--list", help="List of inputs, one a line, or JSON lines; repeatable.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="Domain that pictures are to be of, for example zebra.")] = None,
    direction: Annotated[Direction | None, typer.Option(help="By the domains A and B of the model's card.")] = None,
    image_format: Annotated[Format, typer.Option("--format", help="Encoding of outputs.")] = "png",
    quality: Annotated[int | None, typer.Option(help="Of jpeg and webp.", min=1, max=100)] = None,
    max_side: Annotated[
        int | None, typer.Option(help="Longer side in pixels to work at; then scaled back.", min=16)
    ] = None,
    version: Annotated[str | None, typer.Option(help="Version of the model. Default: the newest.")] = None,
    overwrite: Overwrite = False,
    shard: ShardText = None,
    max_failures: MaxFailures = None,
    concurrency: Concurrency = 32,
    patience: Patience = DEFAULT_PATIENCE,
    manifest: ManifestFolder = None,
    address: Address = DEFAULT_ADDRESS,
    embedded: Embedded = False,
    model_store: ModelStore = DEFAULT_MODEL_STORE,
    pushgateway: Pushgateway = None,
    push_label: PushLabels = None,
    progress: Bar = None,
) -> None:
    """Turn all pictures of folders, archives and object stores into the other domain.

    What is finished is not done again when the command is repeated. Exit code: 0 all finished, 3 items failed, 1 the
    job is at fault, 143 stopped by SIGTERM.
    """

    def work() -> int:
        run = JobRun(
            address=address,
            embedded=embedded,
            model_store=model_store,
            shard=read_shard(shard),
            concurrency=concurrency,
            patience=patience,
            overwrite=overwrite,
            max_failures=max_failures,
            pushgateway=pushgateway,
            grouping=read_push_labels(push_label),
            progress=progress,
        )
        request = Request(
            model=model,
            version=version,
            to=to,
            direction=direction,
            format=image_format,
            quality=quality,
            max_side=max_side,
        )
        named = [*(inputs or ()), *(f"@{text}" for text in lists or ())]
        if not named:
            raise JobError("name at least one input, or a --list")
        return run_translate(request, named, out, run, manifest=manifest)

    raise typer.Exit(exit_code_of("batch translate", work))


@app.command()
def retry(
    out: Annotated[str, typer.Argument(help="Folder or URL of the job's outputs.")],
    overwrite: Overwrite = False,
    shard: ShardText = None,
    max_failures: MaxFailures = None,
    concurrency: Concurrency = 32,
    patience: Patience = DEFAULT_PATIENCE,
    manifest: ManifestFolder = None,
    address: Address = DEFAULT_ADDRESS,
    embedded: Embedded = False,
    model_store: ModelStore = DEFAULT_MODEL_STORE,
    pushgateway: Pushgateway = None,
    push_label: PushLabels = None,
    progress: Bar = None,
) -> None:
    """Translate the failed items of a job again, with the options that it had. Exit codes as of `translate`."""

    def work() -> int:
        run = JobRun(
            address=address,
            embedded=embedded,
            model_store=model_store,
            shard=read_shard(shard),
            concurrency=concurrency,
            patience=patience,
            overwrite=overwrite,
            only_failed=True,
            max_failures=max_failures,
            pushgateway=pushgateway,
            grouping=read_push_labels(push_label),
            progress=progress,
        )
        request, inputs = earlier_request(open_store(manifest or out))
        return run_translate(request, inputs, out, run, manifest=manifest)

    raise typer.Exit(exit_code_of("batch retry", work))


@app.command()
def status(
    out: Annotated[str, typer.Argument(help="Folder or URL of the job's outputs, or of its manifest.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how a job stands, from the manifests of all its shards."""

    def work() -> int:
        found = status_of_job(open_store(out))
        if found is None:
            raise JobError(f"{out}: no job ran there")
        typer.echo(found.to_json() if as_json else found.to_text())
        return 0

    raise typer.Exit(exit_code_of("batch status", work))


app.command()(sample)
app.command()(copy)
