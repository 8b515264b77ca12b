"""Settings come from flags and the environment, and contradict themselves never."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.gateway.settings import Settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GANTRY_{name.upper()}", raising=False)
    monkeypatch.delenv("GANTRY_TOKENS", raising=False)


def test_the_documented_ports_are_the_defaults() -> None:
    assert (Settings().port, Settings().metrics_port, Settings().backend) == (50051, 9464, "embedded")


def test_the_environment_sets_every_kind_of_field(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "GANTRY_PORT": "6000",
        "GANTRY_MODEL_STORE": "/models",
        "GANTRY_BACKEND": "torchserve",
        "GANTRY_REFLECTION": "false",
        "GANTRY_PROBE_SECONDS": "2.5",
        "GANTRY_WORKERS": "3",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.port, settings.model_store, settings.backend) == (6000, Path("/models"), "torchserve")
    assert (settings.reflection, settings.probe_seconds, settings.workers) == (False, 2.5, 3)


def test_the_file_of_keys_is_found_under_its_former_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_TOKENS", "former.json")
    assert Settings.read({}).api_keys == Path("former.json")
    monkeypatch.setenv("GANTRY_API_KEYS", "keys.json")
    assert Settings.read({}).api_keys == Path("keys.json")
    assert Settings.read({"api_keys": Path("flag.json")}).api_keys == Path("flag.json")


def test_what_is_wrong_is_told_by_field_in_one_line_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_JWT_KEYS", "https://user:password@issuer.example/keys")
    with pytest.raises(ValueError, match=r"^host 0\.0\.0\.1 is open") as error:
        Settings.read({"host": "0.0.0.1", "jwt_keys": ""})
    assert "password" not in str(error.value)
    with pytest.raises(ValueError, match=r"^port: .* less than or equal to 65535; log_format: .*'json'$") as error:
        Settings.read({"port": 70000, "log_format": "xml", "host": None})
    assert "password" not in str(error.value)
    assert error.value.__suppress_context__


def test_a_flag_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_PORT", "6000")
    assert Settings(port=7000).port == 7000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 65536),
        ("metrics_port", -1),
        ("backend", "tensorflow"),
        ("log_level", "LOUD"),
        ("workers", 0),
        ("worker_memory_bytes", (1 << 28) - 1),
        ("max_images", 0),
        ("queue_items", 0),
        ("default_deadline_seconds", 0),
        ("max_request_seconds", "inf"),
        ("max_response_bytes", 1),
        ("execution", "float16"),
        ("max_image_bytes", 0),
        ("max_image_pixels", 255),
        ("stream_pictures", 0),
        ("probe_seconds", 0),
        ("probe_seconds", "inf"),
        ("drain_seconds", "inf"),
        ("drain_seconds", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Settings(**{field: value})


def test_a_queue_must_hold_the_largest_request() -> None:
    with pytest.raises(ValidationError, match=r"queue_items \(8\) must be at least max_images \(9\)"):
        Settings(queue_items=8, max_images=9)
    assert Settings(queue_items=9, max_images=9).queue_items == 9


def test_a_stream_must_hold_the_largest_picture() -> None:
    with pytest.raises(ValidationError, match=r"stream_bytes \(4096\) must be at least max_image_bytes \(4097\)"):
        Settings(stream_bytes=4096, max_image_bytes=4097)
    assert Settings(stream_bytes=4096, max_image_bytes=4096).stream_bytes == 4096


def test_memory_must_hold_the_largest_picture_and_message() -> None:
    with pytest.raises(
        ValidationError, match=r"memory_bytes \(5242879\) must be at least five times max_image_bytes \(1048576\)"
    ):
        Settings(memory_bytes=(5 << 20) - 1, max_image_bytes=1 << 20, max_request_bytes=1 << 20)
    with pytest.raises(ValidationError, match="five times max_request_bytes"):
        Settings(memory_bytes=(5 << 20) - 1, max_image_bytes=1 << 16, max_request_bytes=1 << 20)
    assert Settings(memory_bytes=5 << 20, max_image_bytes=1 << 20, max_request_bytes=1 << 20).memory_bytes == 5 << 20


@pytest.mark.parametrize(
    ("former", "name", "value"), [("queue_bytes", "memory_bytes", 1 << 30), ("worker_threads", "workers", 3)]
)
def test_former_names_are_accepted(monkeypatch: pytest.MonkeyPatch, former: str, name: str, value: int) -> None:
    assert getattr(Settings.read({former: value}), name) == value
    monkeypatch.setenv(f"GANTRY_{former.upper()}", str(value))
    assert getattr(Settings.read({}), name) == value
    with pytest.raises(ValueError, match=f"{former} is the former name of {name}: give only {name}"):
        Settings.read({name: value})


@pytest.mark.parametrize(
    ("given", "listens_on"),
    [
        ({}, "127.0.0.1"),
        ({"insecure": True}, "[::]"),
        ({"tls_certificate": "cert.pem"}, "[::]"),
        ({"tls_client_ca": "ca.pem"}, "[::]"),
        ({"api_keys": "keys.json"}, "[::]"),
        ({"jwt_keys": "jwks.json"}, "[::]"),
        ({"host": "localhost"}, "localhost"),
        ({"host": "127.0.0.2"}, "127.0.0.2"),
        ({"host": "::1"}, "[::1]"),
        ({"host": "[::1]"}, "[::1]"),
        ({"host": "0.0.0.0", "insecure": True}, "0.0.0.0"),
        ({"host": "::", "api_keys": "keys.json"}, "[::]"),
        ({"host": "127.0.0.1", "insecure": True}, "127.0.0.1"),
    ],
)
def test_it_listens_beyond_loopback_only_where_that_is_safe_or_meant(given: dict[str, Any], listens_on: str) -> None:
    assert Settings(**given).listen_host == listens_on


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, []),
        ({"host": "::1", "insecure": True}, []),
        ({"insecure": True}, ["anybody", "whoever"]),
        ({"api_keys": "keys.json"}, ["whoever"]),
        ({"jwt_keys": "jwks.json"}, ["whoever"]),
        ({"tls_certificate": "cert.pem"}, ["anybody"]),
        ({"tls_certificate": "cert.pem", "api_keys": "keys.json"}, []),
        ({"tls_certificate": "cert.pem", "tls_client_ca": "ca.pem"}, []),
    ],
)
def test_what_strangers_can_do_is_told(given: dict[str, Any], told: list[str]) -> None:
    assert [opening.partition(" ")[0] for opening in Settings(**given).openings] == told


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "192.0.2.1", "gateway.example"])
def test_a_host_that_is_open_to_strangers_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match=r"is open to strangers: set tls_certificate.*GANTRY_INSECURE=true"):
        Settings(host=host)


def test_every_field_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("given", ["127.0.0.1:8081", "http://127.0.0.1:8081", "http://127.0.0.1:8081/"])
def test_rest_address_of_torchserve_may_be_a_url(given: str) -> None:
    settings = Settings.read({"torchserve_address": "127.0.0.1:7070", "torchserve_rest_address": given})

    assert settings.torchserve_rest_address == "127.0.0.1:8081"


@pytest.mark.parametrize("given", ["localhost", ":8081", "host:port", "host:0", "host:65536", "https://host:8081"])
def test_rest_address_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"^torchserve_rest_address: must be host:port or http://host:port, and is "):
        Settings.read({"torchserve_address": "127.0.0.1:7070", "torchserve_rest_address": given})


def test_rest_address_of_no_torchserve_is_refused() -> None:
    with pytest.raises(ValueError, match="torchserve_rest_address needs torchserve_address"):
        Settings.read({"torchserve_rest_address": "127.0.0.1:8081"})
