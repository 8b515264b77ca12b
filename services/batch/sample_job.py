"""The command behind `gantry batch sample`: from what a user asks for to a data set with its table of labels."""

import asyncio
import json
from dataclasses import replace

from services.batch.description import Description, description_of, earlier_run
from services.batch.faults import JobError
from services.batch.job import Job
from services.batch.manifest import Manifest, open_manifest
from services.batch.running import JobRun, carry_out, connected, gateway_for
from services.batch.sample import SampleRequest, settle
from services.batch.sample_labels import write_labels
from services.batch.sample_plan import CALL_PICTURES
from services.batch.sampler import PictureSampler
from services.batch.shards import Shard
from services.batch.storage import Store, open_store
from services.batch.threads import in_thread
from services.client import Credentials

COMMAND = "sample"


def sample(request: SampleRequest, out: str, run: JobRun) -> int:
    """Make a data set, or a shard of one.

    Args:
        request: What to make.
        out: Path or URL of the folder that it goes to.
        run: How the job is run.

    Returns:
        The exit code; see `services.batch.running`.

    Raises:
        JobError: The job cannot go on, or the folder holds another data set.
        StorageError: The folder cannot be written, or another process works on the shard.
    """
    store = open_store(out)
    _refuse_another(store, request)
    with gateway_for(run) as (address, credentials):
        return asyncio.run(_carry_out(request, store, run, address, credentials))


def _refuse_another(store: Store, request: SampleRequest) -> None:
    """Raise JobError where pictures of another job would stay among those of this one."""
    found = earlier_run(store, COMMAND)
    if found is None:
        return
    before = SampleRequest.from_json(found.request)
    if before.count > request.count or replace(before, count=request.count) != request:
        raise JobError(
            f"{store.url} holds another data set, which can only be continued, or enlarged by --count: "
            f"{json.dumps(found.request)}"
        )


async def _carry_out(request: SampleRequest, store: Store, run: JobRun, address: str, credentials: Credentials) -> int:
    calls = -(-run.concurrency // CALL_PICTURES)
    async with connected(replace(run, concurrency=calls), address, credentials) as (client, caller):
        loaded, _ = await caller(lambda: client.model(request.model, request.version))
        settled = settle(request, loaded)
        async with PictureSampler(client, caller, settled, calls=calls) as sampler:
            if await asyncio.to_thread(description_of, store) is None:
                # Word of a job that the gateway refuses would keep the right one out of the folder.
                await sampler.try_out()
            manifest = await asyncio.to_thread(_begin, store, request, run.shard)
            job = Job(
                sampler.items(run.shard),
                sampler.make,
                settled.provenance,
                store,
                manifest,
                width=run.width,
                overwrite=run.overwrite,
                max_failures=run.max_failures,
            )
            job.on_stop(caller.stop)
            total = sum(pictures.count for pictures in settled.data_set.runs(run.shard))
            code = await carry_out(job, total, run, clean_up=manifest.close)
    if job.tally.settled == total:
        await in_thread(write_labels, store, settled.data_set, run.shard, loaded.card, settled.provenance.options)
    return code


def _begin(store: Store, request: SampleRequest, shard: Shard) -> Manifest:
    """Lock a shard and leave word of the job."""
    manifest = open_manifest(store, shard)
    Description(command=COMMAND, request=request.to_json(), shards=shard.count).leave(store)
    return manifest
