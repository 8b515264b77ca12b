"""How both clients reach a gateway: the address, the deadline and the channel, in plain text or by TLS."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from grpc import aio

from services.client.credentials import Credentials
from services.loopback import is_loopback

DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_TIMEOUT = 30.0
_LARGEST_PORT = 65_535
# The gateway bounds its answers by a setting of its own; a second bound here could only disagree with it.
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    # gRPC's own pauses between attempts to connect grow to two minutes, longer than a gateway takes to be replaced.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    # Where a name has several addresses (dns:///…), calls go to each in turn; new ones are found soon.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.dns_min_time_between_resolutions_ms", 5000),
)


def connect(address: str, credentials: Credentials) -> grpc.Channel:
    """Make a channel that blocks.

    Args:
        address: host:port of the gateway, or another target that gRPC knows.
        credentials: What to show and to trust.

    Returns:
        The channel; it connects with the first call.

    Raises:
        OSError: A file of the credentials cannot be read.
        ValueError: The address is none, a file is no PEM, or a token would leave this machine in plain text.
    """
    _refuse_none(address)
    security = _security(address, credentials)
    options = _options(credentials)
    return grpc.secure_channel(address, security, options) if security else grpc.insecure_channel(address, options)


def connect_async(address: str, credentials: Credentials) -> aio.Channel:
    """Make a channel for asyncio; arguments, result and errors as of `connect`."""
    _refuse_none(address)
    security = _security(address, credentials)
    options = _options(credentials)
    return aio.secure_channel(address, security, options) if security else aio.insecure_channel(address, options)


def _refuse_none(address: str) -> None:
    """Raise ValueError for what gRPC would take and never reach, or reach at another port."""
    port = re.search(r":(\d+)$", address)
    if not address or (port and int(port[1]) > _LARGEST_PORT):
        raise ValueError(f"the gateway's address must be host:port, with a port to {_LARGEST_PORT}, got {address!r}")


def _security(address: str, credentials: Credentials) -> grpc.ChannelCredentials | None:
    if not credentials.tls:
        if credentials.has_token and not credentials.allow_plain_text and not stays_here(address):
            raise ValueError(
                f"the token would go to {address} in plain text: set tls (GANTRY_TLS=1), or where the network can be "
                "trusted allow_plain_text (GANTRY_ALLOW_PLAIN_TEXT=1)"
            )
        return None
    return grpc.ssl_channel_credentials(*map(_pem, (credentials.ca, credentials.key, credentials.certificate)))


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    text = path.read_bytes()
    if b"-----BEGIN " not in text:
        raise ValueError(f"{path}: not a PEM file")
    return text


def _options(credentials: Credentials) -> list[tuple[str, int | str]]:
    name = credentials.server_name
    return [*_OPTIONS, *([("grpc.ssl_target_name_override", name)] if name else [])]


def stays_here(address: str) -> bool:
    """Whether what is sent to an address stays on this machine.

    Args:
        address: host:port, or another target that gRPC knows, for example unix:/run/gantry.
    """
    scheme, _, rest = address.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return True
    if scheme in ("dns", "ipv4", "ipv6"):
        address = rest.rpartition("/")[2]
    return all(is_loopback(urlsplit(f"//{one}").hostname or "") for one in address.split(","))
