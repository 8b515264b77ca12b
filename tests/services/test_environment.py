"""Every variable that is read is known, and any other is refused by name."""

import re
from pathlib import Path

import pytest

from services.environment import check_environment
from services.gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_every_variable_that_the_code_reads_is_known() -> None:
    named = {f"GANTRY_{field.upper()}" for field in Settings.model_fields}
    for package in ("services", "training"):
        for path in (ROOT / package).rglob("*.py"):
            named |= set(re.findall(r"\bGANTRY_[A-Z][A-Z0-9_]*\b", path.read_text()))
    assert {"GANTRY_ADDRESS", "GANTRY_PUSHGATEWAY", "GANTRY_DATA_DIR", "GANTRY_TOKEN_FILE"} <= named
    check_environment(dict.fromkeys(named, "x"))


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant() -> None:
    given = {"GANTRY_PROT": "6000", "GANTRY_TOKENFILE": "key", "GANTRY_PORT": "6000", "PATH": "/bin"}
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        check_environment(given)
    assert str(error.value) == (
        "the variable GANTRY_PROT is unknown; GANTRY_PORT is the most similar one; "
        "the variable GANTRY_TOKENFILE is unknown; GANTRY_TOKEN_FILE is the most similar one"
    )


def test_a_variable_that_resembles_nothing_is_named_alone() -> None:
    with pytest.raises(ValueError, match=r"^the variable GANTRY_XYZZY is unknown$"):
        check_environment({"GANTRY_XYZZY": "1"})


def test_what_kubernetes_says_of_services_is_nobodys_mistake() -> None:
    check_environment(
        {
            "GANTRY_GATEWAY_SERVICE_HOST": "10.0.0.1",
            "GANTRY_GATEWAY_SERVICE_PORT": "50051",
            "GANTRY_GATEWAY_SERVICE_PORT_GRPC": "50051",
            "GANTRY_GATEWAY_PORT": "tcp://10.0.0.1:50051",
            "GANTRY_GATEWAY_PORT_50051_TCP": "tcp://10.0.0.1:50051",
            "GANTRY_GATEWAY_PORT_50051_TCP_ADDR": "10.0.0.1",
        }
    )
    with pytest.raises(ValueError, match="GANTRY_GATEWAY_PORT"):
        check_environment({"GANTRY_GATEWAY_PORT": "50051"})
