"""The processes that train one model together, as `torchrun` starts them; one process alone needs none of this.

Every process draws the same batch, works on its share of it, and takes the same step on the mean of all gradients. Its
weights, pools and progress are then those of every other, and of one process that had worked on the whole batch.
Gradients are averaged here and not by `DistributedDataParallel`, which wraps the forward pass of one module: a phase's
loss passes through several nets and through parts of them, and only one learns.

Tensors travel by NCCL between GPUs and by gloo between CPUs. What the host must know of the other hosts (`any_of`) goes
by gloo always, so that no step waits for a device.
"""

import dataclasses
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from training.config import ConfigError


class PeerError(RuntimeError):
    """Another process of the training has failed or ended, or has another state; its own message says why."""


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Joins the processes that were started together, where there are several, and leaves them in the end.

    Args:
        device: Where the nets are to run.

    Yields:
        The device of this process: the GPU of its number on this machine, or `device`.

    Raises:
        ConfigError: If there are more processes than GPUs, or torchrun did not start them.
        PeerError: If one of them did not come.
    """
    if not _is_one_of_several():
        yield device
        return
    missing = {"RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} - os.environ.keys()
    if missing:
        raise ConfigError(f"WORLD_SIZE is set, but not {', '.join(sorted(missing))}: start the processes with torchrun")
    if device.type == "cuda":
        device = _own_gpu()
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with _collective():
        store, rank, processes = next(rendezvous("env://"))
        # torchrun's store outlives the processes: those that it starts again must not find the addresses of the dead.
        attempt = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        dist.init_process_group(backend, store=attempt, rank=rank, world_size=processes)
    # Torch lets a process go as soon as it is connected itself: if it failed at once, others could not connect to it.
    any_of(False)
    yield device
    # After a failure nobody leaves in good order: NCCL would wait for processes that are no more.
    dist.destroy_process_group()


def count() -> int:
    """How many processes train together, 1 or more."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes and reports."""
    return not _is_one_of_several() or os.environ["RANK"] == "0"


def rank() -> int:
    """The number of this process among those that train together, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def say(line: str) -> None:
    """Prints a line to stderr, once for all processes."""
    if is_first():
        print(line, file=sys.stderr, flush=True)


def own_share(batch: Any) -> Any:
    """This process's share of a batch.

    Args:
        batch: A dataclass of tensors [B, ...] and of mappings of them; B is divisible by the number of processes.

    Returns:
        The same with tensors [B / processes, ...].
    """
    if count() == 1:
        return batch

    def share(whole: Tensor | Mapping[str, Tensor]) -> Any:
        return whole.chunk(count())[rank()] if isinstance(whole, Tensor) else {k: share(v) for k, v in whole.items()}

    return dataclasses.replace(batch, **share(vars(batch)))


def gathered(share: Tensor) -> Tensor:
    """The tensors of all processes behind each other; gradients find their way back.

    Args:
        share: Of this process, [B, ...], of the same shape on all.

    Returns:
        [B * processes, ...], equal on all.
    """
    if count() == 1:
        return share
    whole: Tensor = _Gathered.apply(share)  # type: ignore[no-untyped-call]
    return whole


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over all processes, equal on all; gradients find their way back.

    What a loss takes from a whole batch before it bends it must pass through here; the mean of the processes' losses is
    the batch's loss only where a loss is itself a mean over items.
    """
    return value if count() == 1 else gathered(value[None]).mean(0)


def average_gradients(module: nn.Module) -> None:
    """Replaces the gradients of a module by their means over all processes."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    with _collective():
        dist.all_reduce(flat)
    parts = flat.div_(count()).split([gradient.numel() for gradient in gradients])
    shaped = [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)]
    torch._foreach_copy_(gradients, shaped)


def any_of(flag: bool) -> bool:
    """Whether any process says so; every process must ask."""
    if count() == 1:
        return flag
    said = torch.tensor(int(flag))
    with _collective():
        dist.all_reduce(said, dist.ReduceOp.MAX)
    return bool(said)


@contextmanager
def first_before_others() -> Iterator[None]:
    """A block that the first process has left before the others enter it.

    Raises:
        PeerError: On the others, if it left with an error.
    """
    if not is_first() and any_of(False):
        raise PeerError("the first process has failed; its own message says why")
    try:
        yield
    except BaseException:
        if is_first():
            with suppress(PeerError):  # its own error says more than that the others have ended before
                any_of(True)
        raise
    if is_first():
        any_of(False)


def require_equal(settings: str, nets: Iterable[nn.Module]) -> None:
    """Makes sure that all processes begin alike.

    Args:
        settings: All that decides what they do, besides ...
        nets: ... the nets.

    Raises:
        PeerError: On all, if one has others than the first.
    """
    if count() == 1:
        return
    digest = hashlib.sha256(settings.encode())
    for net in nets:
        for value in net.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
    own = torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
    of_first = own.clone()
    with _collective():
        dist.broadcast(of_first, src=0)
    if any_of(not torch.equal(own, of_first)):
        raise PeerError(
            "the processes begin with different settings, progress or weights: all need the same command, the same "
            "version of the code, and the same folder of the run"
        )


class _Gathered(torch.autograd.Function):
    """Every process's loss depends on every share, so the gradients of all of them come back to each."""

    @staticmethod
    def forward(_ctx: Any, share: Tensor) -> Tensor:
        whole = share.new_empty((count() * len(share), *share.shape[1:]))
        with _collective():
            dist.all_gather_single(whole, share.contiguous())
        return whole

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        with _collective():
            dist.all_reduce(total)
        return total.chunk(count())[rank()]


def _is_one_of_several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _own_gpu() -> torch.device:
    number, there_are = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= there_are:
        raise ConfigError(
            f"process {number} of this machine has no GPU, torch finds {there_are}: start torchrun with "
            f"--nproc-per-node={there_are}, or train with --device cpu"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


@contextmanager
def _collective() -> Iterator[None]:
    """Around what takes all processes; gloo has no type of error of its own for the end of one."""
    try:
        yield
    except RuntimeError as error:
        raise PeerError("another process of this training has ended; its own message says why") from error
