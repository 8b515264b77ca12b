"""`gantry batch sample`: what a user types, as a request for a data set."""

from typing import Annotated

import typer

from services.batch.calling import DEFAULT_PATIENCE
from services.batch.options import (
    Address,
    Bar,
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
from services.batch.sample import FileFormat, SampleRequest
from services.batch.sample_job import sample as run_sample
from services.client.connection import DEFAULT_ADDRESS


def sample(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    count: Annotated[int, typer.Option(help="Number of pictures, the same of each class, or one more.", min=1)],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or URL that the data set goes to.")],
    label: Annotated[
        list[str] | None, typer.Option("--label", help="A class to have, by name or id; repeatable. Default: all.")
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option("--code", metavar="NAME=VALUE", help="A code that is held; repeatable. The others are drawn."),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="NAME=NUMBER", help="An attribute that is held; repeatable."),
    ] = None,
    truncation: Annotated[float, typer.Option(help="Truncation ψ.", min=0, max=1)] = 1.0,
    seed: Annotated[int, typer.Option(help="Another one gives another data set.", min=0)] = 0,
    image_format: Annotated[FileFormat, typer.Option("--format", help="Encoding of pictures.")] = "png",
    quality: Annotated[int | None, typer.Option(help="Of jpeg and webp.", min=1, max=100)] = None,
    version: Annotated[str | None, typer.Option(help="Version of the model. Default: the newest.")] = None,
    overwrite: Overwrite = False,
    shard: ShardText = None,
    max_failures: MaxFailures = None,
    concurrency: Annotated[
        int, typer.Option(help="About how many pictures are asked of the gateway at once.", min=1, max=1024)
    ] = 128,
    patience: Patience = DEFAULT_PATIENCE,
    address: Address = DEFAULT_ADDRESS,
    embedded: Embedded = False,
    model_store: ModelStore = DEFAULT_MODEL_STORE,
    pushgateway: Pushgateway = None,
    push_label: PushLabels = None,
    progress: Bar = None,
) -> None:
    """Make a data set of pictures with labels, balanced over the classes of a model, or over a categorical code.

    The pictures are in OUT/images, one folder a class, or the folder "all" where the model has nothing to balance;
    OUT/labels.csv tells class, seed, codes and attributes of each. What is finished is not done again when the command
    is repeated, and a larger --count adds to it. Exit code: 0 all finished, 3 items failed, 1 the job is at fault, 143
    stopped by SIGTERM.
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
        request = SampleRequest(
            model=model,
            version=version,
            count=count,
            seed=seed,
            labels=tuple(label) if label else None,
            codes=tuple(code or ()),
            attributes=tuple(attribute or ()),
            truncation=truncation,
            format=image_format,
            quality=quality,
        )
        return run_sample(request, out, run)

    raise typer.Exit(exit_code_of("batch sample", work))
