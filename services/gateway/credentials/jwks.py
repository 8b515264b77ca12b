"""The public keys that sign callers' JSON Web Tokens: a JSON Web Key Set (RFC 7517) of a file, or of a URL.

Each key is bound to one signature algorithm: its "alg", or else RS256, ES256, ES384 or EdDSA by its type. Symmetric
keys are never taken, so a public key can never be mistaken for an HMAC secret.
"""

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from services.gateway.credentials.watched import Watched
from services.loopback import is_loopback

KEEP_SECONDS = 600.0
RETRY_SECONDS = 30.0
_FETCH_SECONDS = 5.0
_SET_BYTES = 1 << 20
_SET_KEYS = 256
_RSA_BITS = 2048

ALGORITHMS = "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeySet:
    """The usable keys of a set."""

    keys: tuple[jwt.PyJWK, ...] = ()

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Find the key that a token names.

        Args:
            key_id: The token's "kid"; without one, the only key that fits is meant.
            algorithm: The token's "alg".

        Returns:
            The key; None where none, or without a "kid" more than one, fits.
        """
        fitting = [key for key in self.keys if key.algorithm_name == algorithm and key_id in (None, key.key_id)]
        return fitting[0] if len(fitting) == 1 else None


class KeySource(Protocol):
    """Where the keys come from."""

    def keys(self) -> KeySet:
        """Return the keys as they are known now."""

    async def refresh(self) -> None:
        """Look for newer keys, because a token names one that is not known; at most once in 30 seconds."""

    async def start(self) -> None:
        """Get the first keys, and begin to keep them fresh."""

    async def stop(self) -> None:
        """Leave the keys alone."""


class FileKeys:
    """Keys of a file, read again when it changes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Args:
            path: The JSON file.
            clock: Monotonic seconds.

        Raises:
            OSError: It cannot be read.
            ValueError: It holds no usable key.
        """

        def load() -> KeySet:
            with path.open("rb") as file:
                return read_key_set(file.read(_SET_BYTES + 1), str(path))

        self.keys: Callable[[], KeySet] = Watched([path], load, clock)

    async def refresh(self) -> None:
        """Do nothing: `keys` itself looks at the file."""

    async def start(self) -> None:
        """Do nothing: the file has been read."""

    async def stop(self) -> None:
        """Do nothing: nothing runs."""


class FetchedKeys:
    """Keys of a URL: fetched every ten minutes, off the event loop; where that fails, the old ones stay in use."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Keep the URL; `start` fetches.

        Args:
            url: An https:// URL; http:// only of loopback.
            fetch: Gets the bytes behind the URL, or raises OSError or ValueError.
            clock: Monotonic seconds.
            sleep: Waits the seconds it is given.

        Raises:
            ValueError: The URL is of another kind.
        """
        check_url(url)
        self._client, self._clock, self._sleep = _JwksClient(url, fetch or fetch_bounded), clock, sleep
        self._keys = KeySet()
        self._tried: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None

    def keys(self) -> KeySet:
        """Return the keys as they were last fetched."""
        return self._keys

    async def start(self) -> None:
        """Fetch the keys; where that fails it is logged, no token is accepted, and it is tried again."""
        await self.refresh()
        self._refreshing = asyncio.create_task(self._refresh_forever())

    async def stop(self) -> None:
        """Fetch no more."""
        for task in (self._refreshing, self._fetching):
            if task:
                task.cancel()

    async def refresh(self) -> None:
        """Fetch the keys, unless that was tried in the last 30 seconds, however many strangers name unknown ones."""
        if self._fetching is None or self._fetching.done():
            if self._tried is not None and self._clock() - self._tried < RETRY_SECONDS:
                return
            self._tried = self._clock()
            self._fetching = asyncio.create_task(self._fetch_keys())
        # A stranger who hangs up must not end what others wait for, else no new key would ever be known.
        await asyncio.shield(self._fetching)

    async def _fetch_keys(self) -> None:
        url = self._client.uri
        try:
            self._keys = _usable(await asyncio.to_thread(self._client.get_jwk_set, refresh=True), url)
        except (OSError, ValueError, jwt.PyJWTError) as error:
            _log.error("no new keys from %s, the old ones stay in use: %s", url, error)

    async def _refresh_forever(self) -> None:
        while True:
            await self._sleep(KEEP_SECONDS if self._keys.keys else RETRY_SECONDS)
            await self.refresh()


def key_source(location: str) -> KeySource:
    """Make the source that a setting names.

    Args:
        location: A URL, or the path of a file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The URL is not allowed, or the file holds no usable key.
    """
    return FetchedKeys(location) if "://" in location else FileKeys(Path(location))


class _JwksClient(jwt.PyJWKClient):
    """PyJWT's client, within bounds of bytes, seconds and redirects; it keeps no keys, since `FetchedKeys` does."""

    def __init__(self, url: str, fetch: Callable[[str], bytes]) -> None:
        super().__init__(url, cache_jwk_set=False)
        self._fetch = fetch

    def fetch_data(self) -> Any:
        """Fetch the key set."""
        return _parse(self._fetch(self.uri), self.uri)


def read_key_set(text: bytes, origin: str) -> KeySet:
    """Read a JSON Web Key Set; keys that cannot be used are left out.

    Args:
        text: Its JSON.
        origin: Where it is from, for errors.

    Returns:
        The usable keys.

    Raises:
        ValueError: It is too large, no key set, or has no usable key.
    """
    try:
        return _usable(jwt.PyJWKSet.from_dict(_parse(text, origin)), origin)
    except jwt.PyJWTError as error:
        raise ValueError(f"{origin}: {error}") from None


def _parse(text: bytes, origin: str) -> dict[str, Any]:
    if len(text) > _SET_BYTES:
        raise ValueError(f"{origin}: larger than {_SET_BYTES >> 20} MiB")
    try:
        entries = json.loads(text)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise ValueError(f'{origin}: not a JSON Web Key Set, which is an object with a list "keys"')
    if len(entries) > _SET_KEYS:
        raise ValueError(f"{origin}: {len(entries)} keys, more than {_SET_KEYS}")
    # Of any other "alg" PyJWT may raise what it does not catch, and one such key would take the others with it.
    return {"keys": [entry for entry in entries if isinstance(entry, dict) and entry.get("alg") in (None, *ALGORITHMS)]}


def _usable(keys: jwt.PyJWKSet, origin: str) -> KeySet:
    usable = tuple(filter(_is_usable, keys))
    if not usable:
        raise ValueError(f"{origin}: no usable key, which are RSA of {_RSA_BITS} bits, EC P-256, EC P-384 and Ed25519")
    _log.info("%s: %d usable keys", origin, len(usable))
    return KeySet(usable)


def _is_usable(entry: jwt.PyJWK) -> bool:
    if entry.public_key_use not in ("sig", None) or not isinstance(entry.key_id, str | None):
        return False
    match entry.key:
        case RSAPublicKey() as key:
            return key.key_size >= _RSA_BITS
        case EllipticCurvePublicKey() as key:
            return key.curve.name == _CURVES.get(entry.algorithm_name)
        case key:
            return isinstance(key, Ed25519PublicKey)


def check_url(url: str) -> None:
    """Allow https:// URLs, and http:// of loopback.

    Raises:
        ValueError: The URL is of another kind.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None:
        raise ValueError("jwt_keys: a URL needs a host, and holds no user name or password")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("jwt_keys: a URL must begin with https://; http:// is for loopback only")


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to where the setting itself could not point."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_bounded(url: str) -> bytes:
    """Get what is behind a URL, within five seconds or so and at most one byte over 1 MiB.

    Args:
        url: The URL.

    Returns:
        The bytes.

    Raises:
        OSError: It cannot be reached, answers an error, or is too slow.
        ValueError: It redirects to a URL that is not allowed.
    """
    deadline = time.monotonic() + _FETCH_SECONDS
    opener = urllib.request.build_opener(_CheckedRedirects)
    try:
        with opener.open(url, timeout=_FETCH_SECONDS) as response:
            text = b""
            while len(text) <= _SET_BYTES and (more := response.read1(_SET_BYTES + 1 - len(text))):
                text += more
                if time.monotonic() > deadline:
                    raise TimeoutError("it answers too slowly")
            return text
    except HTTPException as error:
        raise OSError(f"it does not answer in HTTP ({type(error).__name__})") from error
