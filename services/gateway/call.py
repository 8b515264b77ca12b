"""What is known of the call that is being served: who makes it and what they may do, and what became of it so far."""

import asyncio
import random
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Self
from urllib.parse import unquote
from weakref import WeakSet

import pydantic
from prometheus_client import Counter
from pydantic import ConfigDict, Field

from gantry.v1 import models_pb2

REQUEST_ID_KEY = "x-request-id"
# https://www.w3.org/TR/server-timing/
_TIMING_KEY = "server-timing"
EVERY_MODEL = "*"
_NAME_LENGTH = 128

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


Weight = Annotated[float, Field(gt=0, le=100, strict=True)]
ImagesPerSecond = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
ConcurrentImages = Annotated[int, Field(ge=1, strict=True)]


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CallerLimits:
    """What a caller gets of the gateway.

    Attributes:
        weight: Its share beside other callers; 2 is twice that of 1.
        images_per_second: The most images a second; None for any number.
        concurrent_images: The most images that wait or are made at once; None for any number.
    """

    weight: Weight = 1.0
    images_per_second: ImagesPerSecond | None = None
    concurrent_images: ConcurrentImages | None = None


NO_LIMITS = CallerLimits()


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        name: For logs: printable, at most 128 characters; empty where the gateway does not ask.
        models: Names of the models that it may use, or EVERY_MODEL.
        limits: What it gets of the gateway.
        address: The peer's address without its port; "unix" for a Unix socket.
        connection: The peer as gRPC writes it, which tells its connections apart.
    """

    name: str = ""
    models: frozenset[str] = frozenset({EVERY_MODEL})
    limits: CallerLimits = NO_LIMITS
    address: str = ""
    connection: str = ""

    @classmethod
    def of(cls, name: str, models: Iterable[str], limits: CallerLimits = NO_LIMITS) -> Self:
        """Make a caller of a name that others chose, so that it can forge no line of a log.

        Args:
            name: Any text.
            models: Names of models, or EVERY_MODEL.
            limits: What it gets of the gateway.
        """
        printable = "".join(character if character.isprintable() else "�" for character in name)
        return cls(printable[:_NAME_LENGTH], frozenset(models), limits)

    @property
    def id(self) -> str:
        """Whom a share or a limit belongs to: the name, else the address."""
        return self.name or self.address

    def may_use(self, model: str) -> bool:
        """Whether it may use a model; of EVERY_MODEL, whether it may use all."""
        return EVERY_MODEL in self.models or model in self.models


@dataclass(frozen=True, eq=False, weakref_slot=True, slots=True)
class BatchRun:
    """One envelope's way to the backend and back, shared by all pictures that came in it.

    Attributes:
        seconds: How long it was away.
        encode_seconds: How much of that went into encoding pictures.
    """

    seconds: float
    encode_seconds: float


def new_request_id() -> str:
    """Return 32 hexadecimal digits that no other call has; nobody is kept from guessing them."""
    return f"{random.getrandbits(128):032x}"


@dataclass
class Call:
    """One call, as far as it has come.

    Attributes:
        method: Name of its method, for example "Sample".
        request_id: The caller's id of it, or one that the gateway made.
        refusals: Where refusals are counted, by method and reason; None where they are not.
        caller: Who makes it; only an address until it is known.
        model: Name of the model that it asked for last; empty where it has not found one.
        version: That model's version.
        images: Pictures that were made for it.
        refused: How often it was refused: itself, or a picture of a stream.
        reason: Reason of the last refusal.
        queue_seconds: The longest that a picture of it waited.
        backend_seconds: How long the envelopes that its pictures rode in were away, together.
        encode_seconds: How much of that went into encoding, other callers' pictures in these envelopes included.
    """

    method: str = ""
    request_id: str = field(default_factory=new_request_id)
    refusals: Counter | None = None
    caller: Caller = Caller()
    model: str = ""
    version: str = ""
    images: int = 0
    refused: int = 0
    reason: str = ""
    queue_seconds: float = 0.0
    backend_seconds: float = 0.0
    encode_seconds: float = 0.0
    # Weak: a run that no picture holds any more brings no other, so a stream of any length remembers few.
    _runs: WeakSet[BatchRun] = field(default_factory=WeakSet, repr=False)

    @classmethod
    def begin(
        cls,
        method: str,
        metadata: Iterable[tuple[str, str | bytes]] | None,
        refusals: Counter | None = None,
        peer: str = "",
    ) -> Self:
        """Begin a call: from now on it is the current one.

        Args:
            method: Name of its method.
            metadata: What the caller sent with it; a sound `x-request-id` (1 to 128 characters of letters, digits and
                `._:/+=@-`) is honoured.
            refusals: Where refusals are counted.
            peer: Who is at the other end, as gRPC writes it.
        """
        given = str(dict(metadata or ()).get(REQUEST_ID_KEY, ""))
        request_id = given if _REQUEST_ID.fullmatch(given) else new_request_id()
        call = cls(method, request_id, refusals, Caller(address=address_of(peer), connection=peer))
        _current.set(call)
        return call

    def about(self, loaded: models_pb2.LoadedModel) -> models_pb2.LoadedModel:
        """Note which model it asks for; returns it."""
        self.model, self.version = loaded.card.name, loaded.card.version
        return loaded

    def note_refusal(self, reason: str) -> None:
        """Note that it, or a picture of it, was refused."""
        self.refused += 1
        self.reason = reason
        if self.refusals is not None:
            self.refusals.labels(self.method, reason).inc()

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what its status brings: its id and, where it made pictures, where the time went (Server-Timing)."""
        timing = f"queue;dur={self.queue_seconds * 1000:.1f}, backend;dur={self.backend_seconds * 1000:.1f}"
        timing += f", encode;dur={self.encode_seconds * 1000:.1f}"
        return ((REQUEST_ID_KEY, self.request_id), *([(_TIMING_KEY, timing)] if self.images else []))

    def note_picture(self, queue_seconds: float, run: BatchRun) -> None:
        """Note a picture that was made.

        Args:
            queue_seconds: How long it waited.
            run: The envelope that it came in.
        """
        self.images += 1
        self.queue_seconds = max(self.queue_seconds, queue_seconds)
        if run not in self._runs:
            self._runs.add(run)
            self.backend_seconds += run.seconds
            self.encode_seconds += run.encode_seconds


_current: ContextVar[Call | None] = ContextVar("gantry_call", default=None)


def current_call() -> Call:
    """Return the call that is being served; outside of any, one that nobody looks at."""
    return _current.get() or Call()


def identify(caller: Caller) -> None:
    """Note who makes the call that is being served; the address that it comes from stays."""
    call = current_call()
    call.caller = replace(caller, address=call.caller.address, connection=call.caller.connection)
    _current.set(call)


def caller_may_use(model: str) -> bool:
    """Whether the call that is being served comes from someone who may use a model.

    Args:
        model: Its name; EVERY_MODEL asks whether the caller may use all.

    Returns:
        True too where the gateway asks nobody who they are.
    """
    return current_call().caller.may_use(model)


def current_request_id() -> str:
    """Return the id of the call that is being served; empty outside of any."""
    call = _current.get()
    return call.request_id if call else ""


def at_end_of_call(act: Callable[[], object]) -> None:
    """Act when the call that is being served is over, its answer written; grpc serves each in a task of its own."""
    task = asyncio.current_task()
    assert task
    task.add_done_callback(lambda _: act())


def address_of(peer: str) -> str:
    """Return the address of a peer without its port.

    Args:
        peer: As gRPC writes it, for example "ipv4:10.0.0.7:51234" or "ipv6:%5B::1%5D:51234".

    Returns:
        The address, an IPv4 one also where it came over IPv6; "unix" for a Unix socket.
    """
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind.removesuffix("-abstract")
    host = unquote(rest).rpartition(":")[0].strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else str(address)
