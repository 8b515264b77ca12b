"""What is noted of a call: its id, its refusals, and the times of the envelopes that its pictures rode in."""

import gc
from collections.abc import Iterator

import pytest

from services.gateway.call import (
    BatchRun,
    Call,
    Caller,
    _current,
    address_of,
    caller_may_use,
    current_call,
    current_request_id,
    identify,
)
from services.gateway.telemetry.metrics import Metrics


@pytest.fixture(autouse=True)
def _outside_of_any_call() -> Iterator[None]:
    token = _current.set(None)
    yield
    _current.reset(token)


@pytest.mark.parametrize("given", ["a", "Az09._:/+=@-", "x" * 128, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f0-01"])
def test_a_sound_request_id_is_honoured(given: str) -> None:
    assert Call.begin("Sample", [("other", "x"), ("x-request-id", given)]).request_id == given
    assert current_request_id() == given


@pytest.mark.parametrize("given", ["", "x" * 129, "with space", "line\nbreak", 'quo"te', "ümlaut", b"bytes of \xff"])
def test_any_other_is_replaced(given: str | bytes) -> None:
    made = Call.begin("Sample", [("x-request-id", given)]).request_id
    assert len(made) == 32
    assert int(made, 16)


def test_calls_without_an_id_get_different_ones() -> None:
    assert Call.begin("Sample", None).request_id != Call.begin("Sample", ()).request_id


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.7:51234", "10.0.0.7"),
        ("ipv6:%5B2001:db8::1%5D:51234", "2001:db8::1"),
        ("ipv6:[2001:db8::1]:51234", "2001:db8::1"),
        ("ipv6:%5B::ffff:10.0.0.7%5D:51234", "10.0.0.7"),
        ("ipv6:%5Bfe80::1%25eth0%5D:51234", "fe80::1%eth0"),
        ("unix:", "unix"),
        ("unix:/run/gantry.sock", "unix"),
        ("unix-abstract:gantry", "unix"),
        ("", ""),
    ],
)
def test_a_peer_is_known_by_its_address(peer: str, address: str) -> None:
    call = Call.begin("Sample", None, peer=peer)
    assert (call.caller.address, call.caller.id, address_of(peer)) == (address,) * 3


def test_a_caller_that_is_identified_keeps_its_address() -> None:
    call = Call.begin("Sample", None, peer="ipv4:10.0.0.7:51234")
    assert caller_may_use("tiny")
    identify(Caller.of("reports", ["tiny"]))
    assert (call.caller.id, call.caller.address) == ("reports", "10.0.0.7")
    assert [caller_may_use(model) for model in ("tiny", "other", "*")] == [True, False, False]


def test_a_caller_is_known_outside_of_a_call_too() -> None:
    """Else what is asked of nobody would be allowed to everybody."""
    identify(Caller.of("reports", ["tiny"]))
    assert not caller_may_use("other")


def test_refusals_are_counted_by_method_and_reason() -> None:
    metrics = Metrics()
    call = Call.begin("Sample", None, metrics.refusals)
    for reason in ("INVALID_REQUEST", "QUEUE_FULL", "QUEUE_FULL"):
        current_call().note_refusal(reason)
    assert (call.refused, call.reason) == (3, "QUEUE_FULL")
    labels = {"grpc_method": "Sample", "reason": "QUEUE_FULL"}
    assert metrics.registry.get_sample_value("gantry_refusals_total", labels) == 2


def test_an_envelope_counts_once_however_many_pictures_rode_in_it() -> None:
    call = Call()
    first, second = BatchRun(1.0, 0.25), BatchRun(1.0, 0.25)
    for queue_seconds, run in ((0.1, first), (0.3, first), (0.2, second), (0.0, first)):
        call.note_picture(queue_seconds, run)
    assert (call.images, call.queue_seconds, call.backend_seconds, call.encode_seconds) == (4, 0.3, 2.0, 0.5)


def test_a_call_of_any_length_remembers_few_envelopes() -> None:
    call = Call()
    for _ in range(1000):
        call.note_picture(0.0, BatchRun(1.0, 0.0))
    gc.collect()
    assert len(call._runs) == 0
    assert call.backend_seconds == 1000
