"""A progress bar on stderr, for calls that take long."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(text: str, total: int | None, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Show how far something is.

    Args:
        text: What is under way.
        total: Number of steps; None where nobody knows.
        shown: Whether there is a bar at all.

    Yields:
        What to call after each step.
    """
    if not shown:
        yield lambda: None
        return
    # Imported only where it is used: it takes as long as several calls.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(text, total=total)
        yield lambda: progress.advance(task)
