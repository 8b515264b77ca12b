"""A gateway of one's own; that it serves and ends is seen in the tests of the commands that start one."""

import random
import socket

import pytest

from gantry.v1 import models_pb2
from services.client import local_gateway
from services.client.local_gateway import free_port, reasons_of


def test_an_empty_store_is_named() -> None:
    assert reasons_of([]) == "the gateway has no model: its model store holds no .mar archive"
    broken = models_pb2.RefusedArchive(archive="bad.mar", reason="broken")
    assert reasons_of([broken]) == "the gateway refused bad.mar: broken"


def test_a_free_port_can_be_had_and_a_seed_does_not_choose_it() -> None:
    ports = set()
    for _ in range(8):
        random.seed(0)
        ports.add(free_port())
    assert len(ports) > 1
    with socket.create_server(("127.0.0.1", ports.pop())):
        pass


def test_a_port_that_is_taken_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        monkeypatch.setattr(local_gateway, "_PORTS", range(taken, taken + 1))
        with pytest.raises(OSError, match=f"no port of 127.0.0.1 from {taken} to {taken} is free"):
            free_port()
