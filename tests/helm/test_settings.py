"""The gateway's own settings, as the chart gives them: nothing that the gateway would not take."""

import json
from typing import Any

import pytest

from services.gateway.settings import Settings
from tests.helm.core import OWN, SIDECAR, TLS, environment_of
from tests.helm.manifests import pod_templates
from tests.helm.rendering import CHART, merged, render

_RANGE_KEYWORDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum"}
_ALL_THAT_IT_DECIDES: tuple[dict[str, Any], ...] = (
    {},
    OWN,
    SIDECAR,
    merged(
        TLS,
        {
            "tls": {"clientCa": {"secretName": "ca"}},
            "auth": {
                "apiKeys": {"secretName": "callers"},
                "jwt": {"keys": '{"keys": []}', "audience": "gantry", "issuer": "me"},
            },
        },
    ),
)


def test_settings_become_environment_without_exponents() -> None:
    settings = {"max_image_pixels": 16_777_216, "probe_seconds": 7.5, "reflection": False, "log_level": "DEBUG"}
    given = environment_of({"gateway": {"settings": settings}})
    assert given["GANTRY_MAX_IMAGE_PIXELS"] == "16777216"
    assert given["GANTRY_PROBE_SECONDS"] == "7.5"
    assert given["GANTRY_REFLECTION"] == "false"
    assert given["GANTRY_LOG_LEVEL"] == "DEBUG"


@pytest.mark.parametrize(
    ("limit", "memory_bytes"),
    [("2Gi", 512 << 20), ("3000M", 750_000_000), (8 * 10**9, 2 * 10**9), ("1Gi", 256 << 20), (4 << 30, 1 << 30)],
)
def test_messages_may_take_a_quarter_of_the_memory(limit: str | int, memory_bytes: int) -> None:
    given = environment_of({"gateway": {"resources": {"limits": {"memory": limit}}}})
    assert given["GANTRY_MEMORY_BYTES"] == str(memory_bytes)


@pytest.mark.parametrize(("limit", "worker_bytes"), [("2Gi", 1 << 30), ("1Gi", 512 << 20), (4 << 30, 2 << 30)])
def test_a_worker_may_hold_half_of_the_memory(limit: str | int, worker_bytes: int) -> None:
    limits = {"gateway": {"resources": {"limits": {"memory": limit}}}}
    assert environment_of(limits)["GANTRY_WORKER_MEMORY_BYTES"] == str(worker_bytes)
    assert "GANTRY_WORKER_MEMORY_BYTES" not in environment_of(merged(OWN, limits))


def test_what_a_worker_may_hold_can_be_said() -> None:
    assert "GANTRY_WORKER_MEMORY_BYTES" not in environment_of({"gateway": {"resources": {"limits": {"memory": None}}}})
    given = environment_of({"gateway": {"settings": {"worker_memory_bytes": 3 << 29}}})
    assert given["GANTRY_WORKER_MEMORY_BYTES"] == str(3 << 29)


def test_what_the_memory_is_can_be_said() -> None:
    assert "GANTRY_MEMORY_BYTES" not in environment_of({"gateway": {"resources": {"limits": {"memory": None}}}})
    given = environment_of({"gateway": {"settings": {"memory_bytes": 1 << 30}}})
    assert given["GANTRY_MEMORY_BYTES"] == str(1 << 30)
    former = environment_of({"gateway": {"settings": {"queue_bytes": 1 << 30}}})
    assert "GANTRY_MEMORY_BYTES" not in former


def test_schema_describes_the_settings_that_no_other_value_decides() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    described = schema["properties"]["gateway"]["properties"]["settings"]["properties"]
    decided = {
        name.removeprefix("GANTRY_").lower() for values in _ALL_THAT_IT_DECIDES for name in environment_of(values)
    }
    decided |= {"host", "torchserve_management_address"}
    assert set(described) | decided == set(Settings.model_fields)
    assert set(described) & decided == {"log_format", "memory_bytes", "worker_memory_bytes"}, "set by default only"
    for name, described_as in described.items():
        assert described_as["description"] == Settings.model_fields[name].description


def test_ranges_are_the_settings_own() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    described = schema["properties"]["gateway"]["properties"]["settings"]["properties"]
    ranges = {
        name: {key: value for key, value in field.items() if key in _RANGE_KEYWORDS}
        for name, field in described.items()
    }
    for name, expected in Settings.model_json_schema()["properties"].items():
        if name in ranges:
            options = [expected, *expected.get("anyOf", [])]
            found = {key: value for each in options for key, value in each.items() if key in _RANGE_KEYWORDS}
            assert ranges[name] == found, name


def test_no_service_injects_its_address_as_a_setting() -> None:
    for pod in pod_templates(render(OWN)):
        assert pod.spec["enableServiceLinks"] is False
