"""Settings come from flags and the environment, and contradict themselves never."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.gateway.settings import Settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GANTRY_{name.upper()}", raising=False)


def test_the_documented_ports_are_the_defaults() -> None:
    assert (Settings().port, Settings().metrics_port, Settings().backend) == (50051, 9464, "embedded")


def test_the_environment_sets_every_kind_of_field(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "GANTRY_PORT": "6000",
        "GANTRY_MODEL_STORE": "/models",
        "GANTRY_BACKEND": "torchserve",
        "GANTRY_REFLECTION": "false",
        "GANTRY_PROBE_SECONDS": "2.5",
        "GANTRY_WORKER_THREADS": "3",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.port, settings.model_store, settings.backend) == (6000, Path("/models"), "torchserve")
    assert (settings.reflection, settings.probe_seconds, settings.worker_threads) == (False, 2.5, 3)


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
        ("worker_threads", 0),
        ("max_images", 0),
        ("queue_items", 0),
        ("envelopes_in_flight", 0),
        ("max_response_bytes", 1),
        ("execution", "float16"),
        ("max_image_bytes", 0),
        ("max_image_pixels", 255),
        ("stream_pictures", 0),
        ("probe_seconds", 0),
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


def test_every_field_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())
