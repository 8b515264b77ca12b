"""Which model a caller means, of those it may use: a name, and a version or the newest."""

from collections.abc import Iterator, Mapping
from typing import Any

from gantry.v1 import models_pb2
from services.backends.base import ModelKey
from services.gateway.call import caller_may_use
from services.gateway.errors import InvalidRequestError, ModelForbiddenError, UnknownModelError, Violation
from services.worker.inputs import LATENT, PICTURE, takes


class Catalog:
    """Finds loaded models by name and version."""

    def __init__(self, models: Mapping[ModelKey, models_pb2.LoadedModel]) -> None:
        """Keep the models of a backend.

        Args:
            models: The loaded models.
        """
        self.follow(models)

    def follow(self, models: Mapping[ModelKey, models_pb2.LoadedModel]) -> None:
        """Find these models from now on, and no others."""
        self._models = dict(sorted(models.items(), key=lambda entry: (entry[0].name, _version_order(entry[0].version))))

    def __iter__(self) -> Iterator[models_pb2.LoadedModel]:
        """Iterate over the loaded models that the caller may use, ordered by name, then version."""
        return (loaded for key, loaded in self._models.items() if caller_may_use(key.name))

    def find(self, name: str, version: str, field: str) -> models_pb2.LoadedModel:
        """Find a model.

        Args:
            name: Its name.
            version: Its version; the newest where empty.
            field: Path of the request's field that holds the name, for the error.

        Returns:
            The model.

        Raises:
            InvalidRequestError: The name is empty.
            ModelForbiddenError: The caller may not use it, whether or not it is loaded; the message names what it may.
            UnknownModelError: It is not loaded; the message names what is, as far as the caller may use it.
        """
        if not name:
            raise InvalidRequestError(Violation(field, f"required; loaded: {self._names()}"))
        if not caller_may_use(name):
            raise ModelForbiddenError(f"model {_shown(name)} is not allowed to this caller; allowed: {self._names()}")
        versions = {key.version: loaded for key, loaded in self._models.items() if key.name == name}
        if not versions:
            raise UnknownModelError(f"model {_shown(name)} is not loaded; loaded: {self._names()}")
        if version and version not in versions:
            raise UnknownModelError(
                f"model {name} has no version {_shown(version)}; loaded versions: {', '.join(versions)}"
            )
        return versions[version or list(versions)[-1]]

    def find_generator(self, name: str, version: str, field: str) -> models_pb2.LoadedModel:
        """Find a model that makes pictures from latents; arguments, result and errors as of `find`.

        Raises:
            InvalidRequestError: It translates pictures; the message says which calls are for that.
        """
        loaded = self.find(name, version, field)
        if not takes(loaded.card, LATENT):
            raise InvalidRequestError(
                Violation(field, f"model {name} translates pictures; use Translate or TranslateStream")
            )
        return loaded

    def find_translator(self, name: str, version: str, field: str) -> models_pb2.LoadedModel:
        """Find a model that translates pictures; arguments, result and errors as of `find`.

        Raises:
            InvalidRequestError: It makes pictures from latents; the message says which calls are for that.
        """
        loaded = self.find(name, version, field)
        if not takes(loaded.card, PICTURE):
            raise InvalidRequestError(
                Violation(field, f"model {name} makes pictures from latents; use Sample, SampleStream or Traverse")
            )
        return loaded

    def _names(self) -> str:
        return ", ".join(dict.fromkeys(loaded.card.name for loaded in self)) or "none"


def _version_order(version: str) -> tuple[Any, ...]:
    """Order as semver.org does: "1.9.0", "1.10.0-rc.1", "1.10.0"; versions that differ in their build by letter."""
    release, _, candidate = version.partition("+")[0].partition("-")
    parts = [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in candidate.split(".")]
    return [int(part) for part in release.split(".")], not candidate, parts, version


def _shown(text: str) -> str:
    """Quote a caller's text in an error, not more of it than is useful."""
    return repr(text if len(text) <= 80 else f"{text[:80]}…")
