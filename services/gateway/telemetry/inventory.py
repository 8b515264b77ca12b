"""Shows in the metrics and the log which models are served, what came and left, and which archives were refused."""

import logging
from typing import NamedTuple

from services.backends.base import Backend, BackendUnavailableError, ModelKey
from services.gateway.telemetry.metrics import Metrics, kind_label

_log = logging.getLogger(__name__)


class _Labels(NamedTuple):
    """A model as the metrics show it."""

    model: str
    version: str
    kind: str
    digest: str


class Inventory:
    """What was last shown of a backend's models."""

    def __init__(self, backend: Backend, metrics: Metrics, why_none: str) -> None:
        """Begin with nothing shown.

        Args:
            backend: Whose models they are.
            metrics: Where they are shown.
            why_none: What the log says where there are none, though no archive was refused.
        """
        self._backend, self._metrics, self._why_none = backend, metrics, why_none
        self._shown: set[_Labels] = set()
        self._refused: set[tuple[str, str]] = set()

    def show(self) -> None:
        """Show what there is now."""
        now = {
            _Labels(*key, kind_label(loaded.card.kind), loaded.digest) for key, loaded in self._backend.models.items()
        }
        for labels in self._shown - now:
            self._metrics.model_info.remove(*labels)
            self._metrics.set_aside.remove(labels.model, labels.version)
            _log.warning("no longer serving %s %s (%.12s)", labels.model, labels.version, labels.digest)
        for labels in now - self._shown:
            self._metrics.model_info.labels(*labels).set(1)
            self._metrics.unawaited.labels(labels.model)
            _log.info("serving %s %s (%.12s)", labels.model, labels.version, labels.digest)
        refused = {(refused.archive, refused.reason) for refused in self._backend.refused}
        for fault in sorted(refused - self._refused):
            _log.error("refused %s: %s", *fault)
        if not now:
            why = f"archives refused: {len(refused)}" if refused else self._why_none
            _log.warning("there is no model to serve: %s", why)
        self._metrics.archives_refused.set(len(refused))
        self._shown, self._refused = now, refused
        for key in self._backend.models:
            self._metrics.set_aside.labels(*key).set(self._is_set_aside(key))

    def _is_set_aside(self, key: ModelKey) -> bool:
        try:
            self._backend.check(key)
        except BackendUnavailableError:
            return True
        return False
