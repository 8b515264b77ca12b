"""Which GANTRY_* variables there are. Any other is refused by name: a misspelt one would be ignored in silence."""

import difflib
import re
from collections.abc import Mapping

_PREFIX = "GANTRY_"
# What commands read beside the settings of the gateway; GANTRY_TOKENS is the former name of GANTRY_API_KEYS.
_OF_COMMANDS = frozenset(
    {
        "GANTRY_ADDRESS",
        "GANTRY_ALLOW_PLAIN_TEXT",
        "GANTRY_CA",
        "GANTRY_CLIENT_CERTIFICATE",
        "GANTRY_CLIENT_KEY",
        "GANTRY_DATA_DIR",
        "GANTRY_PUSHGATEWAY",
        "GANTRY_SERVER_NAME",
        "GANTRY_TLS",
        "GANTRY_TOKEN",
        "GANTRY_TOKENS",
        "GANTRY_TOKEN_FILE",
    }
)
# Kubernetes gives pods such variables for a Service whose name begins with "gantry-", unless enableServiceLinks is off.
_SERVICE_LINK = re.compile(r"GANTRY_\w+_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def check_environment(environment: Mapping[str, str]) -> None:
    """Refuse variables that nothing would read.

    Args:
        environment: All variables.

    Raises:
        ValueError: A variable that begins with GANTRY_ is unknown; the message names it, and the most similar one.
    """
    given = {name for name in environment if name.startswith(_PREFIX) and not _is_service_link(name, environment)}
    if unread := given - _OF_COMMANDS:
        from services.gateway.settings import Settings

        known = _OF_COMMANDS | {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
        if unknown := sorted(unread - known):
            raise ValueError("; ".join(_line(name, sorted(known)) for name in unknown))


def _is_service_link(name: str, environment: Mapping[str, str]) -> bool:
    if name.endswith("_PORT") and _SERVICE_URL.match(environment[name]):
        return True
    return _SERVICE_LINK.fullmatch(name) is not None


def _line(name: str, known: list[str]) -> str:
    # Without what all have in common, by which any two would be similar.
    similar = difflib.get_close_matches(name.removeprefix(_PREFIX), [each.removeprefix(_PREFIX) for each in known], n=1)
    return f"the variable {name} is unknown" + (f"; {_PREFIX}{similar[0]} is the most similar one" if similar else "")
