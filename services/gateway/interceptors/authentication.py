"""Who may call: the interceptor that lets in bearers of a key, of a JSON Web Token, or of a client certificate.

A bearer value that begins with "gantry_" is a key, any other a JSON Web Token. A refusal has one of four fixed
texts, so nothing of what a caller sent comes back or is logged. The health service stays open: it tells nothing, and
those who probe have no key.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from services.gateway.call import EVERY_MODEL, Caller, identify
from services.gateway.credentials.api_keys import KEY_PREFIX, KeyFile, read_keys
from services.gateway.credentials.jwks import key_source
from services.gateway.credentials.jwt import TokenExpiredError, WebTokens
from services.gateway.credentials.watched import Watched
from services.gateway.errors import UnauthenticatedError, answered
from services.gateway.interceptors.base import Handler, Wrapping, wrap
from services.gateway.settings import Settings

_HEADER = "authorization"
_OPEN = "/grpc.health.v1.Health/"

_MISSING = 'a key is needed: send the metadata "authorization: Bearer KEY"'
_MALFORMED = 'the metadata "authorization" must be there once, and be "Bearer KEY"'
_EXPIRED = "the token has expired"
_REFUSED = "the key is not accepted"

_GRPC_LOGGER = "grpc._cython.cygrpc"
_GRPC_QUOTE = "Invalid encoding on"

_log = logging.getLogger(__name__)


def authenticator(settings: Settings) -> "Authenticator | None":
    """Make the interceptor that the settings ask for.

    Args:
        settings: All settings.

    Returns:
        The interceptor; None where the settings name no keys, no JSON Web Tokens and no client certificates.

    Raises:
        OSError: A file cannot be read.
        ValueError: The settings contradict each other, or a file does not hold what it should.
    """
    path = settings.api_keys
    keys = Watched([path], lambda: read_keys(path), time.monotonic) if path else None
    web_tokens = _web_tokens(settings)
    if keys is None and web_tokens is None and settings.tls_client_ca is None:
        return None
    return Authenticator(keys, web_tokens)


def _web_tokens(settings: Settings) -> WebTokens | None:
    if settings.jwt_keys is None:
        for name in ("jwt_issuer", "jwt_audience"):
            if getattr(settings, name) is not None:
                raise ValueError(f"{name} is set without jwt_keys: no JSON Web Token could be checked")
        return None
    if settings.jwt_audience is None:
        _log.warning("jwt_audience is not set: tokens that were issued for other services are accepted too")
    return WebTokens(
        key_source(settings.jwt_keys),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        models_claim=settings.jwt_models_claim,
        limits_claim=settings.jwt_limits_claim,
    )


class Authenticator(Wrapping):
    """Lets a call through to its handler once it is known who makes it."""

    def __init__(self, keys: Callable[[], KeyFile] | None, web_tokens: WebTokens | None) -> None:
        """Keep what tells who calls; without either, the client's certificate does.

        Args:
            keys: The callers' keys as they are now.
            web_tokens: Checks JSON Web Tokens.
        """
        self._keys, self._web_tokens = keys, web_tokens

    async def start(self) -> None:
        """Get the keys that sign JSON Web Tokens, and begin to keep them fresh."""
        logging.getLogger(_GRPC_LOGGER).addFilter(_quotes_nobody)
        if self._web_tokens:
            await self._web_tokens.source.start()

    async def stop(self) -> None:
        """End what `start` began."""
        if self._web_tokens:
            await self._web_tokens.source.stop()

    def wrapped(self, handler: Handler, method: str) -> Handler:
        """Ask who calls before every handler but those of the health service."""
        return handler if method.startswith(_OPEN) else wrap(handler, self._admitted)

    @asynccontextmanager
    async def _admitted(self, context: Any) -> AsyncIterator[None]:
        async with answered(context):
            identify(await self._caller(context))
        yield

    async def _caller(self, context: Any) -> Caller:
        if self._keys is None and self._web_tokens is None:
            return Caller.of(_certificate_name(context.auth_context()), [EVERY_MODEL])
        credential = _credential(context.invocation_metadata())
        caller = await self._caller_of(credential)
        if caller is None:
            raise UnauthenticatedError(_REFUSED)
        return caller

    async def _caller_of(self, credential: str) -> Caller | None:
        if credential.startswith(KEY_PREFIX):
            return self._keys().caller_of(credential) if self._keys else None
        if self._web_tokens is None:
            return None
        try:
            return await self._web_tokens.caller_of(credential)
        except TokenExpiredError:
            raise UnauthenticatedError(_EXPIRED) from None


def _quotes_nobody(record: logging.LogRecord) -> bool:
    """Whether a line may be logged: not where grpc quotes metadata that is no UTF-8, a key with one bad byte too."""
    return not str(record.msg).startswith(_GRPC_QUOTE)


def _credential(metadata: Any) -> str:
    """Return what follows "Bearer"; UnauthenticatedError where nothing does."""
    values = [value for key, value in metadata or () if key == _HEADER]
    if not values:
        raise UnauthenticatedError(_MISSING)
    value = values[0].decode(errors="replace") if isinstance(values[0], bytes) else values[0]
    scheme, _, credential = value.partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not credential.strip():
        raise UnauthenticatedError(_MALFORMED)
    return credential.strip()


def _certificate_name(auth_context: Any) -> str:
    """Return the common name of a client's certificate, or else its first alternative name."""
    for key in ("x509_common_name", "x509_subject_alternative_name"):
        for name in auth_context.get(key, ()):
            if name:
                return str(name.decode(errors="replace"))
    return ""
