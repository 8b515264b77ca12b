"""How log lines look: for people, or one JSON object a line; each names the request that it was written for."""

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import grpc

from services.gateway.call import current_request_id

_PLAIN = re.compile(r"[\w.:/+@-]+")


def configure_logs(level: str, log_format: Literal["text", "json"]) -> None:
    """Log to stderr from now on, Python's warnings too.

    Args:
        level: Least severe messages that are logged.
        log_format: How lines are written.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    handler.addFilter(_is_notable)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _is_notable(record: logging.LogRecord) -> bool:
    """Whether a record is no stack trace of grpc's over a caller who has gone while the answer was written.

    grpc keeps quiet about it only where it has been told of the end before.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (record.name.startswith("grpc.") and isinstance(error, grpc.aio.InternalError))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, then what else there is.

    That is `request_id` while a call is served, the record's `fields`, and `exception` with its stack trace.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line: dict[str, Any] = {
            "time": _time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        } | _fields_of(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line for people: time (UTC), level, logger, message, then what else there is as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 (as above)
        """Write when a record was made."""
        return _time_of(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """Write a record without its exception."""
        fields = (f" {name}={_plain(value)}" for name, value in _fields_of(record).items() if value != "")
        return super().formatMessage(record) + "".join(fields)


def _time_of(record: logging.LogRecord) -> str:
    """As RFC 3339 has it, in UTC, to the millisecond."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    request_id = current_request_id()
    return ({"request_id": request_id} if request_id else {}) | dict(fields)


def _plain(value: object) -> str:
    """Write a value so that it can neither end the line nor look like another field."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
