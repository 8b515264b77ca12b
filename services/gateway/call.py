"""What is known of the call that is being served: for its log line, for every line logged meanwhile, for metrics."""

import random
import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Self
from weakref import WeakSet

from prometheus_client import Counter

from gantry.v1 import models_pb2

REQUEST_ID_KEY = "x-request-id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(frozen=True, eq=False, weakref_slot=True, slots=True)
class Ride:
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
    model: str = ""
    version: str = ""
    images: int = 0
    refused: int = 0
    reason: str = ""
    queue_seconds: float = 0.0
    backend_seconds: float = 0.0
    encode_seconds: float = 0.0
    # Weak: a ride that no picture holds any more brings no other, so a stream of any length remembers few.
    _rides: WeakSet[Ride] = field(default_factory=WeakSet, repr=False)

    @classmethod
    def begin(
        cls, method: str, metadata: Iterable[tuple[str, str | bytes]] | None, refusals: Counter | None = None
    ) -> Self:
        """Begin a call: from now on it is the current one.

        Args:
            method: Name of its method.
            metadata: What the caller sent with it; a sound `x-request-id` (1 to 128 characters of letters, digits and
                `._:/+=@-`) is honoured.
            refusals: Where refusals are counted.
        """
        given = str(dict(metadata or ()).get(REQUEST_ID_KEY, ""))
        call = cls(method, given if _REQUEST_ID.fullmatch(given) else new_request_id(), refusals)
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

    def note_picture(self, queue_seconds: float, ride: Ride) -> None:
        """Note a picture that was made.

        Args:
            queue_seconds: How long it waited.
            ride: The envelope that it came in.
        """
        self.images += 1
        self.queue_seconds = max(self.queue_seconds, queue_seconds)
        if ride not in self._rides:
            self._rides.add(ride)
            self.backend_seconds += ride.seconds
            self.encode_seconds += ride.encode_seconds


_current: ContextVar[Call | None] = ContextVar("gantry_call", default=None)


def current_call() -> Call:
    """Return the call that is being served; outside of any, one that nobody looks at."""
    return _current.get() or Call()


def current_request_id() -> str:
    """Return the id of the call that is being served; empty outside of any."""
    call = _current.get()
    return call.request_id if call else ""
