"""The command behind `gantry batch translate` and `retry`: from what a user types to a finished job."""

import asyncio
import os
from collections.abc import Sequence

from services.batch.description import Description, description_of, earlier_run
from services.batch.faults import JobError
from services.batch.inputs import Input, open_input
from services.batch.job import Job
from services.batch.manifest import open_manifest
from services.batch.plan import Plan, make_plan
from services.batch.running import JobRun, carry_out, connected, gateway_for
from services.batch.storage import Store, is_url, open_store
from services.batch.translate import Request, settle, translating
from services.client import Credentials

COMMAND = "translate"


def earlier_request(store: Store) -> tuple[Request, Sequence[str]]:
    """Return what the newest run was asked for, and its inputs.

    Raises:
        JobError: No translation job ran there.
    """
    found = description_of(store)
    if found is None or found.command != COMMAND:
        raise JobError(f"{store.url}: no translation job ran there")
    return Request.from_json(found.request), found.inputs or ()


def absolute(text: str) -> str:
    """Return an input as it is understood from any folder."""
    listed = text.startswith("@")
    place = text.removeprefix("@")
    if not is_url(place):
        place = os.path.abspath(place)
    return f"@{place}" if listed else place


def translate(request: Request, inputs: Sequence[str], out: str, run: JobRun, *, manifest: str | None = None) -> int:
    """Translate all pictures of the inputs.

    Args:
        request: What is asked of every picture.
        inputs: Files, folders, globs, archives, by path or URL; @ and a list.
        out: Path or URL of the folder that outputs go to.
        run: How the job is run.
        manifest: Path or URL of the folder that keeps the manifest; None for `out`.

    Returns:
        The exit code; see `services.batch.running`.

    Raises:
        JobError: The job cannot go on.
        StorageError: An output cannot be written, or another process works on the shard.
    """
    store = open_store(out)
    private = store if manifest is None else open_store(manifest)
    opened = [open_input(text) for text in inputs]
    plan = make_plan(opened, out, run.shard, request.format)
    try:
        earlier_run(private, COMMAND)
        described = Description(
            command=COMMAND,
            request=request.to_json(),
            shards=run.shard.count,
            inputs=[absolute(text) for text in inputs],
        )
        with gateway_for(run) as (address, credentials):
            return asyncio.run(_carry_out(request, described, opened, plan, store, private, run, address, credentials))
    finally:
        plan.close()


async def _carry_out(
    request: Request,
    described: Description,
    inputs: Sequence[Input],
    plan: Plan,
    store: Store,
    private: Store,
    run: JobRun,
    address: str,
    credentials: Credentials,
) -> int:
    async with connected(run, address, credentials) as (client, caller):
        loaded, _ = await caller(lambda: client.model(request.model, request.version))
        settled = settle(request, loaded)
        manifest = await asyncio.to_thread(open_manifest, private, run.shard)
        described.leave(private)
        async with translating(client, inputs, settled, caller, run.concurrency) as make:
            job = Job(
                plan,
                make,
                settled.provenance,
                store,
                manifest,
                width=run.width,
                overwrite=run.overwrite,
                only_failed=run.only_failed,
                max_failures=run.max_failures,
            )
            job.on_stop(caller.stop)
            return await carry_out(job, len(plan), run, clean_up=manifest.close)
