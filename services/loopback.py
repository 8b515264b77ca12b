"""Whether a host is this machine itself, where nobody else can listen in or call."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself.

    Args:
        host: A name, or an address without brackets.
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
