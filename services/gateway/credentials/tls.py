"""TLS and mTLS from files, which may be replaced while the gateway runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from prometheus_client import Counter

from services.gateway.credentials.watched import Watched
from services.gateway.settings import Settings
from services.gateway.telemetry.metrics import Metrics


@dataclass(frozen=True)
class _Files:
    """The files that the settings name."""

    certificate: Path
    key: Path
    client_ca: Path | None

    @property
    def paths(self) -> list[Path]:
        return [path for path in (self.certificate, self.key, self.client_ca) if path]


@dataclass(frozen=True)
class _Identity:
    """What the files say: for gRPC, and until when the certificates are good (Unix seconds, by the metric's label)."""

    configuration: grpc.ServerCertificateConfiguration
    expiry: dict[str, float]


def server_credentials(
    settings: Settings, metrics: Metrics, clock: Callable[[], float] = time.monotonic
) -> grpc.ServerCredentials | None:
    """Make the credentials to listen with; connections that begin after the files change see the new ones.

    Args:
        settings: All settings.
        metrics: Shows when the certificates expire, as the files say when it is read, and counts handshakes.
        clock: Monotonic seconds.

    Returns:
        The credentials; None where the settings name no certificate.

    Raises:
        OSError: A file cannot be read.
        ValueError: The settings contradict each other, or a file does not hold what it should.
    """
    files = _files(settings)
    if files is None:
        return None
    identity = Watched(files.paths, lambda: _read(files), clock)
    for label in identity().expiry:
        metrics.certificate_expiry.labels(label).set_function(partial(_expiry, identity, label))
    return grpc.dynamic_ssl_server_credentials(
        identity().configuration,
        _Changes(identity, metrics.tls_handshakes),
        require_client_authentication=files.client_ca is not None,
    )


class _Changes:
    """Tells gRPC before each handshake what is new since the one before; None where nothing is.

    gRPC tells nobody how a handshake ends, so those that begin are counted.
    """

    def __init__(self, identity: Callable[[], _Identity], handshakes: Counter) -> None:
        self._identity, self._told, self._handshakes = identity, identity(), handshakes

    def __call__(self) -> Any:
        self._handshakes.inc()
        # gRPC's stubs do not say that it may be None.
        current = self._identity()
        if current is self._told:
            return None
        self._told = current
        return current.configuration


def _expiry(identity: Callable[[], _Identity], label: str) -> float:
    return identity().expiry[label]


def _files(settings: Settings) -> _Files | None:
    certificate, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate and key:
        return _Files(certificate, key, client_ca)
    if certificate or key:
        given, missing = ("tls_certificate", "tls_key") if certificate else ("tls_key", "tls_certificate")
        raise ValueError(f"{given} is set without {missing}: TLS needs both")
    if client_ca:
        raise ValueError("tls_client_ca is set without tls_certificate and tls_key: mTLS needs all three")
    return None


def _read(files: _Files) -> _Identity:
    chain, key = files.certificate.read_bytes(), files.key.read_bytes()
    certificates = _certificates(files.certificate, chain)
    _check_key(files, certificates[0], key)
    expiry = {"certificate": _first_expiry(certificates)}
    client_ca = files.client_ca.read_bytes() if files.client_ca else None
    if files.client_ca and client_ca is not None:
        expiry["client_ca"] = _first_expiry(_certificates(files.client_ca, client_ca))
    return _Identity(grpc.ssl_server_certificate_configuration([(key, chain)], client_ca), expiry)


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError(f"{path}: not a PEM file of certificates") from error


def _check_key(files: _Files, certificate: x509.Certificate, pem: bytes) -> None:
    """Refuse here what gRPC would take, and fail every connection with."""
    try:
        public = serialization.load_pem_private_key(pem, password=None).public_key()
    except TypeError as error:
        raise ValueError(f"{files.key}: the private key is encrypted; it must be in the clear") from error
    except Exception as error:  # The library promises no more than that it raises.
        raise ValueError(f"{files.key}: not a PEM file of a private key") from error
    if public != certificate.public_key():
        raise ValueError(f"{files.key}: not the private key of the first certificate of {files.certificate}")


def _first_expiry(certificates: list[x509.Certificate]) -> float:
    return min(certificate.not_valid_after_utc.timestamp() for certificate in certificates)
