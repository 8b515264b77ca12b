"""`python -m training`: the commands of training alone, where serving is not installed, as on a machine with a GPU."""

import typer

from training.archive.command import archive
from training.cli import compare, evaluate, train
from training.zoo.command import zoo

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (train, evaluate, compare, archive, zoo):
    app.command()(command)

if __name__ == "__main__":
    app(prog_name="python -m training")
