"""Every metric the gateway has.

Model names from callers never become labels: only keys of loaded models do, so a stranger cannot grow the registry.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gantry.v1 import models_pb2

# Calls are expected to take from a millisecond (one small picture) to half a minute (a large request under load).
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The gateway's metrics in a registry of their own, so that two gateways in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        call = ("grpc_service", "grpc_method", "grpc_type")
        model = ("model",)
        self.calls_started = self._counter("grpc_server_started", "Calls begun.", call)
        self.calls_handled = self._counter("grpc_server_handled", "Calls ended, by code.", (*call, "grpc_code"))
        self.call_seconds = self._seconds("grpc_server_handling_seconds", "Seconds from first byte to status.", call)
        self.calls_in_flight = self._gauge("gantry_calls_in_flight", "Calls that are served now.", ("grpc_method",))
        self.refusals = self._counter(
            "gantry_refusals", "Calls, and pictures of streams, that were refused.", ("grpc_method", "reason")
        )
        self.images = self._counter("gantry_images", "Pictures made.", ("model", "kind"))
        self.items = self._counter(
            "gantry_items",
            "Items by what came of them: answered, failed, refused, expired or abandoned.",
            ("model", "outcome"),
        )
        self.unawaited = self._counter(
            "gantry_unawaited_items", "Items that were run although nobody awaited them any more.", model
        )
        self.workers_lost = self._counter(
            "gantry_workers_lost",
            "Worker processes of the gateway that were lost: crashed, overdue, deserted, silent, memory or cancelled.",
            ("reason",),
        )
        # What counts from 0 on shows its first increase.
        for reason in ("crashed", "overdue", "deserted", "silent", "memory", "cancelled"):
            self.workers_lost.labels(reason)
        self.set_aside = self._gauge(
            "gantry_model_set_aside",
            "1 while a model is set aside that keeps losing workers.",
            ("model", "version"),
        )
        self.batch_items = Histogram(
            "gantry_batch_items", "Items in an envelope.", model, buckets=_ITEMS, registry=self.registry
        )
        self.queue_items = self._gauge("gantry_queue_items", "Items that wait.", ("model", "version"))
        self.queue_wait_seconds = self._gauge(
            "gantry_queue_wait_seconds", "Seconds until what waits is done, as estimated.", ("model", "version")
        )
        self.queue_seconds = self._seconds("gantry_queue_seconds", "Seconds an item waited.", model)
        self.backend_seconds = self._seconds("gantry_backend_seconds", "Seconds an envelope was away.", model)
        self.encode_seconds = self._seconds("gantry_encode_seconds", "Seconds encoding an envelope.", model)
        self.backend_up = self._gauge(
            "gantry_backend_up",
            "1 where the last probe of the model brought a picture back.",
            ("backend", "model", "version"),
        )
        self.model_info = self._gauge(
            "gantry_model_info", "1 for every loaded model.", ("model", "version", "kind", "digest")
        )
        self.archives_refused = self._gauge("gantry_archives_refused", "Archives that were refused.", ())
        self.memory_bytes = self._gauge(
            "gantry_memory_bytes", "Bytes of messages, pictures and answers: taken now, and the total.", ("state",)
        )
        self.draining = self._gauge("gantry_draining", "1 while the gateway stops and refuses new calls.", ())
        self.connections = self._counter("gantry_connections", "Connections that brought a call.", ())
        self.tls_handshakes = self._counter("gantry_tls_handshakes", "TLS handshakes begun, failed ones too.", ())
        self.certificate_expiry = self._gauge(
            "gantry_tls_certificate_expiry_timestamp_seconds",
            "When a certificate of the file expires first.",
            ("file",),
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)


def kind_label(kind: "models_pb2.ModelKind.ValueType") -> str:
    """Return a kind as a metric label, for example `class_conditional`."""
    return models_pb2.ModelKind.Name(kind).removeprefix("MODEL_KIND_").lower()
