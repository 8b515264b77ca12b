"""What every batch command does around its job: a gateway, signals, reports, and an exit code that tells what came.

Exit codes: 0 every item is finished; 3 some items failed; 1 the job is at fault and can be started again; 128 + the
signal's number where it was told to stop, which is 143 for SIGTERM.
"""

import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import typer

from services.batch.calling import DEFAULT_PATIENCE, JobCalls
from services.batch.faults import JobError
from services.batch.job import Ending, Job, Tally
from services.batch.reporting import Bar, LogLines, Pusher, Reporter
from services.batch.shards import Shard
from services.batch.threads import in_thread
from services.batch.window import Window
from services.client import AsyncClient, Credentials, GantryError
from services.client.connection import DEFAULT_ADDRESS
from services.client.local_gateway import LocalGatewayError, running_gateway

DONE, FAULT, ITEMS_FAILED = 0, 1, 3
DEFAULT_MODEL_STORE = Path("model_store")

# The most seconds to wait for the next answer before the gateway counts as gone.
_ANSWER_SECONDS = 120.0
# Threads wait for disks, object stores and their journals, not for the processor.
_THREADS = 128
_TELL_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """How a job is run, whatever it makes.

    Attributes:
        address: host:port of the gateway.
        embedded: Whether to start a gateway for the job instead.
        model_store: Folder of archives of that.
        shard: The part of the job to do.
        concurrency: The most items that are to be with the gateway at once.
        patience: Seconds that the gateway may be gone before the job is at fault.
        overwrite: Whether outputs that no manifest accounts for are replaced.
        only_failed: Whether only items that failed before are made, again.
        max_failures: The number of failed items at which the run ends; None: it does not.
        pushgateway: URL of a Pushgateway for metrics; None: there is none.
        grouping: Labels of the metrics there, besides the shard.
        progress: Whether to show a bar; None: where stderr is a terminal.
    """

    address: str = DEFAULT_ADDRESS
    embedded: bool = False
    model_store: Path = DEFAULT_MODEL_STORE
    shard: Shard = field(default_factory=Shard)
    concurrency: int = 32
    patience: float = DEFAULT_PATIENCE
    overwrite: bool = False
    only_failed: bool = False
    max_failures: int | None = None
    pushgateway: str | None = None
    grouping: Mapping[str, str] = field(default_factory=dict)
    progress: bool | None = None

    @property
    def width(self) -> int:
        """The most items under way at once: those with the gateway, and as many that are read or written."""
        return 2 * self.concurrency


def exit_code_of(command: str, work: Callable[[], int]) -> int:
    """Run a command; tell of faults, and end its gateway too where a signal ends it early.

    Args:
        command: Its name, for what it tells.
        work: Does everything, and returns the exit code.

    Returns:
        The exit code.
    """
    # Of libraries only warnings: those of object stores tell of every connection.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("services").setLevel(logging.INFO)
    # As the first process of a container, a program without a handler would not even get the signal.
    before = signal.signal(signal.SIGTERM, _end)
    try:
        return work()
    except (GantryError, JobError, LocalGatewayError, ValueError, OSError) as error:
        typer.echo(f"gantry {command}: {error}", err=True)
        return FAULT
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


@contextmanager
def gateway_for(run: JobRun) -> Iterator[tuple[str, Credentials]]:
    """Say which gateway a job calls and what it shows it; start one where the job wants its own.

    Raises:
        JobError: There are no archives to serve.
        LocalGatewayError: It fails to start.
        ValueError: The environment's credentials contradict each other.
    """
    if not run.embedded:
        yield run.address, Credentials.from_environment()
        return
    if not any(run.model_store.glob("*.mar")):
        raise JobError(f"the model store {run.model_store} is no folder with archives (*.mar)")
    store = f"--model-store={run.model_store}"
    with (
        tempfile.TemporaryDirectory() as folder,
        running_gateway(Path(folder) / "gateway.log", "--backend=embedded", store) as gateway,
    ):
        yield gateway.address, Credentials()


@asynccontextmanager
async def connected(run: JobRun, address: str, credentials: Credentials) -> AsyncIterator[tuple[AsyncClient, JobCalls]]:
    """Prepare an event loop for a job, and connect to its gateway.

    Yields:
        A client that tries nothing twice, and what makes its calls.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    caller = JobCalls(Window(run.concurrency), patience=run.patience)
    async with AsyncClient(address, timeout=_ANSWER_SECONDS, credentials=credentials, attempts=1) as client:
        yield client, caller


async def carry_out(job: Job, total: int, run: JobRun, *, clean_up: Callable[[], None]) -> int:
    """Run a job to its end, or until a signal stops it, and report.

    Args:
        job: The job.
        total: Number of its items.
        run: How it is run.
        clean_up: Is called in every case, before the last report.

    Returns:
        The exit code.

    Raises:
        JobError: The job cannot go on.
    """
    reporters, signals = _reporters(run, total), _stop_on_signals(job)
    watch = asyncio.create_task(_watch(job.tally, reporters))
    ending: Ending | None = None
    try:
        ending = await job.run()
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await in_thread(clean_up)
        for reporter in reporters:
            await in_thread(reporter.finish, job.tally, finished=ending == "finished")
    _tell_failures(job.tally)
    if ending == "too many failures":
        _log.warning("ended early: --max-failures %s is reached", run.max_failures)
    if ending == "stopped" and signals:
        return 128 + signals[0]
    return ITEMS_FAILED if job.tally.failed else DONE


def _reporters(run: JobRun, total: int) -> Sequence[Reporter]:
    shown = sys.stderr.isatty() if run.progress is None else run.progress
    reporters: list[Reporter] = [Bar(total) if shown else LogLines(total)]
    if run.pushgateway is not None:
        reporters.append(Pusher(run.pushgateway, {"shard": str(run.shard), **run.grouping}))
    return reporters


def _stop_on_signals(job: Job) -> list[int]:
    """Have the job stopped by SIGTERM and SIGINT, and ended by a second one; the list gets the signals that came."""
    came: list[int] = []

    def stop(number: int) -> None:
        if came:
            sys.exit(128 + number)
        came.append(number)
        _log.info("stopping: %s; once more ends it at once", signal.Signals(number).name)
        job.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return came


async def _watch(tally: Tally, reporters: Sequence[Reporter]) -> None:
    while True:
        for reporter in reporters:
            await in_thread(reporter.tell, tally)
        await asyncio.sleep(_TELL_SECONDS)


def _tell_failures(tally: Tally) -> None:
    for reason, number in tally.reasons.most_common():
        _log.warning("%d failed: %s", number, reason)
