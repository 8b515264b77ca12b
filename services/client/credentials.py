"""What a client shows a gateway, and what it trusts: a key or token, TLS, a client certificate."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Credentials:
    """What a client shows a gateway, and what it trusts.

    Attributes:
        token: A key of the gateway's, or a JSON Web Token. None: none is sent.
        token_file: File that holds it instead; read for every call, so that it may be replaced.
        tls: Whether to speak TLS.
        ca: PEM file of the authorities that may sign the gateway's certificate. None: those that gRPC comes with.
        certificate: PEM file of the client's certificate chain, for mTLS.
        key: PEM file of its private key.
        server_name: Name that the gateway's certificate must have. None: the host of the address.
        allow_plain_text: Whether a token may leave this machine without TLS.
    """

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    allow_plain_text: bool = False

    def __post_init__(self) -> None:
        """Refuse contradictions.

        Raises:
            ValueError: Two fields contradict each other, or the token is none.
        """
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file: give one, not both")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: mTLS needs both")
        for name in ("ca", "certificate", "server_name"):
            if getattr(self, name) is not None and not self.tls:
                raise ValueError(f"{name} is set without tls: nothing would use it")
        if self.token is not None:
            _check_token(self.token, "token")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read what the environment says; an empty variable counts as not set.

        The variables are GANTRY_TOKEN, GANTRY_TOKEN_FILE, GANTRY_TLS, GANTRY_CA, GANTRY_CLIENT_CERTIFICATE,
        GANTRY_CLIENT_KEY, GANTRY_SERVER_NAME and GANTRY_ALLOW_PLAIN_TEXT.

        Args:
            environment: The variables.

        Raises:
            ValueError: A variable has no sense, or two contradict each other.
        """

        def path(name: str) -> Path | None:
            return Path(environment[name]) if environment.get(name) else None

        return cls(
            token=environment.get("GANTRY_TOKEN") or None,
            token_file=path("GANTRY_TOKEN_FILE"),
            tls=_flag(environment, "GANTRY_TLS"),
            ca=path("GANTRY_CA"),
            certificate=path("GANTRY_CLIENT_CERTIFICATE"),
            key=path("GANTRY_CLIENT_KEY"),
            server_name=environment.get("GANTRY_SERVER_NAME") or None,
            allow_plain_text=_flag(environment, "GANTRY_ALLOW_PLAIN_TEXT"),
        )

    @property
    def has_token(self) -> bool:
        """Whether calls carry a token."""
        return self.token is not None or self.token_file is not None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what to send with a call, the token as it is now.

        Raises:
            OSError: The file of the token cannot be read.
            ValueError: It holds no token.
        """
        token = self.token
        if self.token_file is not None:
            token = _check_token(self.token_file.read_text(errors="replace").strip(), str(self.token_file))
        return (("authorization", f"Bearer {token}"),) if token is not None else ()


def _check_token(token: str, origin: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{origin}: a token is one word of printable ASCII")
    return token


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "").strip().lower()
    if text not in _TRUE + _FALSE:
        raise ValueError(f"{name} must be one of {', '.join((*_TRUE, *_FALSE[1:]))}")
    return text in _TRUE
