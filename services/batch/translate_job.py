"""The command behind `gantry batch translate` and `retry`: from what a user types to a finished job."""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from services.batch.faults import JobError
from services.batch.inputs import Input, open_input
from services.batch.job import Job
from services.batch.manifest import open_manifest
from services.batch.plan import Plan, make_plan
from services.batch.running import Run, carry_out, connected, gateway_for
from services.batch.storage import Store, is_url, open_store
from services.batch.translate import Request, settle, translating
from services.client import Credentials

# In the job's folder, for `retry`.
DESCRIPTION = "job.json"
COMMAND = "translate"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a translation job is, independent of the machine and of the run.

    Attributes:
        request: What is asked of every picture.
        inputs: As the user named them, local ones as absolute paths.
        shards: Number of shards of the newest run.
    """

    request: Request
    inputs: Sequence[str]
    shards: int

    def to_bytes(self) -> bytes:
        """Return it as a file of JSON."""
        described = {
            "command": COMMAND,
            "request": self.request.to_json(),
            "inputs": list(self.inputs),
            "shards": self.shards,
        }
        return json.dumps(described, indent=2).encode() + b"\n"

    @classmethod
    def read(cls, store: Store) -> Self:
        """Read what a run left.

        Raises:
            JobError: No translation job ran there.
        """
        found = _described(store)
        if found.get("command") != COMMAND:
            raise JobError(f"{store.url}: no translation job ran there")
        return cls(request=Request.from_json(found["request"]), inputs=found["inputs"], shards=found["shards"])


def _described(store: Store) -> dict[str, Any]:
    """Return what the newest run left; nothing where there was none."""
    found: dict[str, Any] = json.loads(store.read_private(DESCRIPTION) or b"{}")
    return found


def _refuse_another(store: Store) -> None:
    """Raise JobError where a job of another kind keeps its manifest."""
    if _described(store).get("command", COMMAND) != COMMAND:
        raise JobError(f"{store.url} holds the outputs of another job: name another folder")


def absolute(text: str) -> str:
    """Return an input as it is understood from any folder."""
    listed = text.startswith("@")
    place = text.removeprefix("@")
    if not is_url(place):
        place = os.path.abspath(place)
    return f"@{place}" if listed else place


def translate(request: Request, inputs: Sequence[str], out: str, run: Run, *, manifest: str | None = None) -> int:
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
        described = Description(request=request, inputs=[absolute(text) for text in inputs], shards=run.shard.count)
        _refuse_another(private)
        with gateway_for(run) as (address, credentials):
            return asyncio.run(_carry_out(described, opened, plan, store, private, run, address, credentials))
    finally:
        plan.close()


async def _carry_out(
    described: Description,
    inputs: Sequence[Input],
    plan: Plan,
    store: Store,
    private: Store,
    run: Run,
    address: str,
    credentials: Credentials,
) -> int:
    async with connected(run, address, credentials) as (client, caller):
        request = described.request
        loaded, _ = await caller(lambda: client.model(request.model, request.version))
        settled = settle(request, loaded)
        manifest = await asyncio.to_thread(open_manifest, private, run.shard)
        private.write_private(DESCRIPTION, described.to_bytes())
        async with translating(client, inputs, settled, caller, run.concurrency) as make:
            job = Job(
                plan,
                make,
                settled.maker,
                store,
                manifest,
                width=run.width,
                overwrite=run.overwrite,
                only_failed=run.only_failed,
                max_failures=run.max_failures,
            )
            job.on_stop(caller.stop)
            return await carry_out(job, len(plan), run, clean_up=manifest.close)
