"""Options that several batch commands share: how a job is run, whatever it makes."""

import re
from pathlib import Path
from typing import Annotated

import typer

from services.batch.shards import Shard

Address = Annotated[str, typer.Option(help="host:port of the gateway.", envvar="GANTRY_ADDRESS")]
Embedded = Annotated[bool, typer.Option("--embedded", help="Start a gateway for this job alone; needs torch.")]
ModelStore = Annotated[Path, typer.Option(help="Folder of .mar archives of --embedded.", envvar="GANTRY_MODEL_STORE")]
ShardText = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Part of the job. Default: JOB_COMPLETION_INDEX/JOB_COMPLETIONS, else 0/1."
    ),
]
Concurrency = Annotated[int, typer.Option(help="The most items that are with the gateway at once.", min=1, max=1024)]
Patience = Annotated[float, typer.Option(help="Seconds that the gateway may be gone.", min=0)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that no manifest accounts for.")]
MaxFailures = Annotated[int | None, typer.Option(help="End when so many items have failed.", min=1)]
Pushgateway = Annotated[str | None, typer.Option(help="URL of a Prometheus Pushgateway.", envvar="GANTRY_PUSHGATEWAY")]
PushLabels = Annotated[
    list[str] | None, typer.Option("--push-label", metavar="NAME=VALUE", help="Label of pushed metrics; repeatable.")
]
Bar = Annotated[
    bool | None, typer.Option("--progress/--no-progress", help="Default: a bar where stderr is a terminal.")
]

# Labels that every job has.
_TAKEN = ("job", "shard")


def read_shard(text: str | None) -> Shard:
    """Return the shard that a user gives, else that of the environment."""
    return Shard.from_environment() if text is None else Shard.parse(text)


def read_push_labels(texts: list[str] | None) -> dict[str, str]:
    """Read labels of metrics.

    Raises:
        ValueError: One is not NAME=VALUE.
    """
    pairs = [re.fullmatch(r"([a-zA-Z_]\w*)=(.+)", text, re.ASCII) for text in texts or ()]
    if not all(pairs) or any(pair[1] in _TAKEN for pair in pairs if pair):
        raise ValueError(f"--push-label: must be NAME=VALUE with the name of a label, not {' or '.join(_TAKEN)}")
    return {pair[1]: pair[2] for pair in pairs if pair}
