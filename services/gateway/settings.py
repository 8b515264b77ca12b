"""All settings of the gateway, each from a GANTRY_* environment variable; some are flags of `gantry serve` too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.gateway.explaining import explain
from services.loopback import is_loopback

_LAST_PORT = 65535
# A week: timers of the libraries below take no number that is much larger.
_LONGEST_SECONDS = 604_800
# Still accepted.
_FORMER_NAMES = {"queue_bytes": "memory_bytes", "worker_threads": "workers"}


class Settings(BaseSettings):
    """The gateway's settings: the field `port` is the environment variable GANTRY_PORT, and so on."""

    model_config = SettingsConfigDict(
        env_prefix="GANTRY_", frozen=True, use_attribute_docstrings=True, validate_by_name=True
    )

    host: str | None = None
    """Address that gRPC listens on. Default: all where strangers are kept out or `insecure` is said, else loopback."""
    port: int = Field(default=50051, ge=0, le=65535)
    """Port of gRPC; 0 takes a free one."""
    metrics_host: str = "127.0.0.1"
    """Address that metrics and probes listen on."""
    metrics_port: int = Field(default=9464, ge=0, le=65535)
    """Port of /metrics, /healthz and /readyz over HTTP; 0 takes a free one."""
    metrics: bool = True
    """Whether /metrics answers; the probes beside it always do."""
    reflection: bool = True
    """Whether gRPC server reflection answers."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe messages that are logged."""
    log_format: Literal["text", "json"] = "text"
    """How log lines are written: for people, or one JSON object a line."""

    insecure: bool = False
    """Whether to listen beyond loopback without TLS, keys and JSON Web Tokens."""
    tls_certificate: Path | None = None
    """PEM file of the server's certificate chain; read again when it changes."""
    tls_key: Path | None = None
    """PEM file of its private key."""
    tls_client_ca: Path | None = None
    """PEM file of the authorities whose client certificates are required (mTLS)."""
    api_keys: Path | None = Field(default=None, validation_alias=AliasChoices("GANTRY_API_KEYS", "GANTRY_TOKENS"))
    """JSON file of callers' hashed keys, made with `gantry key`; read again when it changes."""
    jwt_keys: str | None = None
    """JWKS, as a file or an https:// URL, of the keys that sign callers' JSON Web Tokens."""
    jwt_issuer: str | None = None
    """Issuer (`iss`) that a JSON Web Token must have."""
    jwt_audience: str | None = None
    """Audience (`aud`) that a JSON Web Token must have."""
    jwt_models_claim: str = "gantry_models"
    """Claim that lists the models a token's bearer may use, "*" for all; without the claim it may use none."""
    jwt_limits_claim: str = "gantry_limits"
    """Claim that limits a token's bearer: an object of weight, images_per_second and concurrent_images."""

    backend: Literal["embedded", "torchserve"] = "embedded"
    """What runs the models."""
    model_store: Path = Path("model_store")
    """Folder of .mar archives, for the embedded backend and for a TorchServe of the gateway's own."""
    workers: int | None = Field(default=None, ge=1, le=256)
    """Worker processes of the embedded backend. Default: one more than there are CPU cores; on GPUs one each."""
    worker_threads: int | None = Field(default=None, ge=1, le=256)
    """The former name of workers."""
    worker_memory_bytes: int = Field(default=3 << 30, ge=1 << 28, le=1 << 40)
    """The most memory that such a worker may hold, torch and the models included; one that holds more is replaced."""
    archive_seconds: float = Field(default=300.0, gt=0, le=_LONGEST_SECONDS)
    """The most seconds that the embedded backend takes to load an archive; one that takes longer is refused."""
    execution: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the models whose cards allow bfloat16. Default: bfloat16 where the CPU has matrix units for it."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where models run; cuda on a GPU, where pictures differ in the last digits from those of a CPU."""
    torchserve_address: str | None = None
    """host:port of a running TorchServe's gRPC inference API. Default: the gateway starts one of its own."""
    torchserve_management_address: str = "127.0.0.1:7071"
    """host:port of its gRPC management API; only asked which models there are, at every probe."""
    torchserve_rest_address: str | None = None
    """host:port of its REST management API, over which a worker that hangs is replaced; for one that serves this
    gateway alone."""
    torchserve_models: str = ""
    """Names of a running TorchServe's models, with commas; its management API is then not asked."""
    torchserve_message_bytes: int = Field(default=6_553_500, ge=1 << 20, le=1 << 30)
    """The most bytes that a running TorchServe takes and gives: its max_request_size and max_response_size."""
    torchserve_workers: int = Field(default=1, ge=1, le=64)
    """Worker processes per model of a TorchServe of the gateway's own, or of one whose models are named."""

    max_request_bytes: int = Field(default=4 << 20, ge=65_536, le=1 << 30)
    """The most bytes of one message from a caller; larger pictures come in chunks."""
    max_calls: int = Field(default=4096, ge=1, le=1_000_000)
    """The most calls that are served at once; those of health and reflection, of which there may be 1024, left out."""
    max_connections: int | None = Field(default=None, ge=1, le=1_000_000)
    """The most connections. Default: as many as the process may have descriptors, less 128, and at most 16384."""
    handshake_seconds: float = Field(default=10.0, ge=0.1, le=3600.0)
    """A connection that takes longer to say what HTTP/2 and TLS begin with is closed."""
    connection_age_seconds: float = Field(default=300.0, ge=0, le=_LONGEST_SECONDS)
    """A connection so old (give or take a tenth) takes no new calls: callers open another. 0: never."""
    connection_age_grace_seconds: float = Field(default=3600.0, gt=0, le=_LONGEST_SECONDS)
    """Seconds that its calls then have to finish."""
    stream_idle_seconds: float = Field(default=60.0, gt=0, le=_LONGEST_SECONDS)
    """A call whose caller neither sends what it waits for nor reads its answers for so long is ended."""
    max_concurrent_streams: int = Field(default=256, ge=1, le=65536)
    """The most calls that one connection may have open at once."""
    keepalive_least_seconds: float = Field(default=10.0, ge=1.0, le=3600.0)
    """A caller that pings an idle connection more often than this is hung up on (GOAWAY ENHANCE_YOUR_CALM)."""
    max_images: int = Field(default=256, ge=1, le=65536)
    """The most images of one request."""
    queue_items: int = Field(default=1024, ge=1, le=1_000_000)
    """The most images that wait per model."""
    default_deadline_seconds: float = Field(default=120.0, gt=0, le=_LONGEST_SECONDS)
    """Seconds that a caller waits who gives no deadline; in a stream for each picture."""
    max_request_seconds: float = Field(default=15.0, gt=0, le=_LONGEST_SECONDS)
    """The most seconds of one worker that a request, or a picture of a stream, may be expected to take."""
    memory_bytes: int = Field(default=512 << 20, ge=1 << 20, le=1 << 40)
    """The most bytes that messages, pictures and answers take in all, besides what the process takes at rest."""
    memory_patience_seconds: float = Field(default=2.0, ge=0, le=3600)
    """Seconds that a call waits for memory before it is refused."""
    queue_bytes: int | None = Field(default=None, ge=1 << 20, le=1 << 40)
    """The former name of memory_bytes."""
    max_response_bytes: int = Field(default=4_000_000, ge=65_536, le=1 << 30)
    """The most bytes of one answer; below the 4 MiB that gRPC clients accept unless told otherwise."""
    max_image_bytes: int = Field(default=32 << 20, ge=1024, le=1 << 28)
    """The most bytes of a picture that a caller sends."""
    max_image_pixels: int = Field(default=4_194_304, ge=256, le=1 << 28)
    """The most pixels of a picture that a caller sends."""
    stream_pictures: int = Field(default=16, ge=1, le=1024)
    """The most pictures of a TranslateStream that are under way, and the most that are incomplete, at once."""
    stream_bytes: int = Field(default=64 << 20, ge=1024, le=1 << 32)
    """The most bytes of pictures that a TranslateStream holds."""
    required_models: str = ""
    """Names of the models that readiness waits for, with commas; others' faults are then ignored. Default: all."""
    probe_seconds: float = Field(default=15.0, gt=0, le=_LONGEST_SECONDS)
    """Seconds between two probes of every model, and before a TorchServe is asked again which it has."""
    drain_seconds: float = Field(default=20.0, ge=0, le=_LONGEST_SECONDS)
    """Seconds that admitted calls have to finish after SIGTERM."""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Read the settings of a gateway.

        Args:
            given: Settings by name; what is None or not there is that of the environment, or its default.

        Raises:
            ValueError: A setting is not allowed, or two contradict each other; the message names them.
        """
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise ValueError(explain(error)) from None

    @property
    def keeps_strangers_out(self) -> bool:
        """Whether callers have to show who they are, or at least nobody can listen in: TLS, mTLS, keys or JWT."""
        return any((self.tls_certificate, self.tls_client_ca, self.api_keys, self.jwt_keys))

    @property
    def required_model_names(self) -> list[str]:
        """The names in `required_models`."""
        return names_in(self.required_models)

    @property
    def listen_host(self) -> str:
        """The address that gRPC listens on, an IPv6 one in brackets."""
        host = self.host or ("::" if self.keeps_strangers_out or self.insecure else "127.0.0.1")
        return f"[{host}]" if ":" in host and not host.startswith("[") else host

    @property
    def openings(self) -> list[str]:
        """What strangers can do, in words; nothing where only this machine reaches the port."""
        if self._is_out_of_reach:
            return []
        anybody = "anybody who can reach the port may call: no key and no client certificate is asked for"
        in_clear = "whoever listens in can read what is sent, keys too: there is no TLS"
        asks_nobody = not (self.tls_client_ca or self.api_keys or self.jwt_keys)
        return [anybody] * asks_nobody + [in_clear] * (self.tls_certificate is None)

    @property
    def _is_out_of_reach(self) -> bool:
        return is_loopback(self.listen_host.strip("[]"))

    @field_validator("torchserve_rest_address")
    @classmethod
    def _rest_address_is_one(cls, given: str | None) -> str | None:
        if given is None:
            return None
        host, _, port = given.removeprefix("http://").rstrip("/").rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) <= _LAST_PORT) or "/" in host:
            raise ValueError(f"must be host:port or http://host:port, and is {given}")
        return f"{host}:{port}"

    @model_validator(mode="after")
    def _rest_address_has_a_torchserve(self) -> Self:
        if self.torchserve_rest_address and not self.torchserve_address:
            raise ValueError("torchserve_rest_address needs torchserve_address, of a TorchServe that runs")
        return self

    @model_validator(mode="after")
    def _strangers_stay_out(self) -> Self:
        if not (self.keeps_strangers_out or self.insecure or self._is_out_of_reach):
            raise ValueError(
                f"host {self.host} is open to strangers: set tls_certificate and tls_key, api_keys or jwt_keys, or say "
                "that this is meant with insecure (GANTRY_INSECURE=true, --insecure)"
            )
        return self

    @model_validator(mode="after")
    def _queue_holds_a_request(self) -> Self:
        if self.queue_items < self.max_images:
            raise ValueError(
                f"queue_items ({self.queue_items}) must be at least max_images ({self.max_images}), "
                "else the largest request could never be admitted"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _take_former_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        for former, name in _FORMER_NAMES.items():
            if given.get(former) is None:
                continue
            if given.get(name) is not None:
                raise ValueError(f"{former} is the former name of {name}: give only {name}")
            given = {**given, former: None, name: given[former]}
        return given

    @model_validator(mode="after")
    def _memory_holds_what_it_must(self) -> Self:
        for name, size in (("max_image_bytes", self.max_image_bytes), ("max_request_bytes", self.max_request_bytes)):
            if self.memory_bytes < 5 * size:
                raise ValueError(
                    f"memory_bytes ({self.memory_bytes}) must be at least five times {name} ({size}), "
                    "else the largest could never be held"
                )
        return self

    @model_validator(mode="after")
    def _stream_holds_a_picture(self) -> Self:
        if self.stream_bytes < self.max_image_bytes:
            raise ValueError(
                f"stream_bytes ({self.stream_bytes}) must be at least max_image_bytes ({self.max_image_bytes}), "
                "else the largest picture could never be sent"
            )
        return self


def names_in(text: str) -> list[str]:
    """Return the names that stand in a text with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]
