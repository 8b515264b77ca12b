"""The file of callers' keys: a name, the key's hash, the allowed models and limits for each.

A key is "gantry_" and 32 random bytes. Nobody can guess or enumerate these, so one round of SHA-256 keeps them as safe
as a slow hash keeps passwords, and costs a call nothing.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.gateway.call import NO_LIMITS, Caller, CallerLimits, ConcurrentImages, ImagesPerSecond, Weight
from services.gateway.explaining import explain

KEY_PREFIX = "gantry_"
_KEY_BYTES = 32
_FILE_BYTES = 4 << 20

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
ModelName = Annotated[str, Field(min_length=1, max_length=128)]


class Key(BaseModel):
    """One caller's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    models: Annotated[list[ModelName], Field(min_length=1)]
    weight: Weight = NO_LIMITS.weight
    images_per_second: ImagesPerSecond | None = None
    concurrent_images: ConcurrentImages | None = None

    @property
    def limits(self) -> CallerLimits:
        """What its bearer gets of the gateway."""
        return CallerLimits(self.weight, self.images_per_second, self.concurrent_images)


class KeyFile(BaseModel):
    """All callers' keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: list[Key]

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        for field in ("name", "sha256"):
            first: dict[str, int] = {}
            for index, key in enumerate(self.keys):
                if (earlier := first.setdefault(getattr(key, field), index)) != index:
                    raise ValueError(f"keys.{index}.{field} is that of keys.{earlier}; each must be unique")
        return self

    def caller_of(self, key: str) -> Caller | None:
        """Find whose key it is, in a time that does not tell how much of it is right.

        Args:
            key: What a caller sent.

        Returns:
            The caller; None where nobody has this key.
        """
        digest, found = digest_of(key), None
        for known in self.keys:
            if hmac.compare_digest(known.sha256, digest):
                found = known
        return Caller.of(found.name, found.models, found.limits) if found else None


def make_key(name: str, models: Sequence[str], **limits: float | None) -> tuple[str, Key]:
    """Draw a key.

    Args:
        name: Who is to have it.
        models: Names of the models that it may use, or EVERY_MODEL.
        **limits: Those of `CallerLimits`; None is as one that is not given.

    Returns:
        The key, and what a file of keys holds of it.

    Raises:
        ValueError: A name or a limit is not allowed.
    """
    given = {limit: value for limit, value in limits.items() if value is not None}
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    try:
        return key, Key.model_validate({"name": name, "sha256": digest_of(key), "models": list(models)} | given)
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def digest_of(key: str) -> str:
    """Return the SHA-256 of a key, as the file of keys holds it."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def read_keys(path: Path) -> KeyFile:
    """Read a file of keys.

    Args:
        path: The JSON file.

    Returns:
        Its keys.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a file of keys; the message names the field and what is allowed, and quotes nothing.
    """
    with path.open("rb") as file:
        text = file.read(_FILE_BYTES + 1)
    if len(text) > _FILE_BYTES:
        raise ValueError(f"{path}: larger than {_FILE_BYTES >> 20} MiB")
    try:
        return KeyFile.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from None


def add_key(path: Path, entry: Key) -> None:
    """Add a key to a file of keys, or make the file; it is replaced at once, and only its owner can read it.

    Args:
        path: The JSON file.
        entry: The caller's name, hash, models and limits.

    Raises:
        OSError: It cannot be read or written.
        ValueError: It is not a file of keys, or the name is in use.
    """
    path = path.resolve()
    with _locked(path.parent):
        keys = read_keys(path).keys if path.exists() else []
        if any(key.name == entry.name for key in keys):
            raise ValueError(f"{path}: the name {entry.name} is in use; take the old key out, or choose another name")
        text = KeyFile(keys=[*keys, entry]).model_dump_json(indent=2, exclude_defaults=True) + "\n"
        _replace(path, text.encode())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let two commands that add keys at once lose none."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
