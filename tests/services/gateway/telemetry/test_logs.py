"""Log lines, for people and for programs."""

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextvars import copy_context

import grpc
import pytest

from services.gateway.call import Call
from services.gateway.telemetry.logs import JsonFormatter, TextFormatter, configure_logs

CREATED = 1_700_000_000.0


def record(message: str, *, fields: dict[str, object] | None = None, failed: bool = False) -> logging.LogRecord:
    """A record of the logger "gantry.test", with the exception that is being handled where it failed."""
    made = logging.LogRecord("gantry.test", logging.INFO, __file__, 1, message, (), sys.exc_info() if failed else None)
    made.created = CREATED
    if fields is not None:
        made.fields = fields
    return made


def failed_record() -> logging.LogRecord:
    try:
        raise ZeroDivisionError("over\nhere")
    except ZeroDivisionError:
        return record("broken", failed=True)


def test_json_is_one_object_a_line() -> None:
    line = JsonFormatter().format(record("two\nlines", fields={"images": 3, "total_ms": 1.5, "caller": "ü"}))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.000Z",
        "level": "INFO",
        "logger": "gantry.test",
        "message": "two\nlines",
        "images": 3,
        "total_ms": 1.5,
        "caller": "ü",
    }


def test_an_exception_is_a_field() -> None:
    line = JsonFormatter().format(failed_record())
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ZeroDivisionError: over\nhere")
    assert TextFormatter().format(failed_record()).endswith("ZeroDivisionError: over\nhere")


def test_text_is_for_people() -> None:
    line = TextFormatter().format(record("Sample OK", fields={"model": "tiny", "images": 3, "caller": ""}))
    assert line == "2023-11-14T22:13:20.000Z INFO gantry.test: Sample OK model=tiny images=3"


def test_a_value_can_neither_end_a_line_nor_look_like_another_field() -> None:
    line = TextFormatter().format(record("Sample OK", fields={"caller": 'eve code=OK\nINFO "'}))
    assert line.endswith(r'caller="eve code=OK\nINFO \""')


@pytest.mark.parametrize(
    ("formatter", "told"), [(JsonFormatter(), '"request_id": "r-1"'), (TextFormatter(), " request_id=r-1")]
)
def test_a_line_names_the_request_that_it_was_written_for(formatter: logging.Formatter, told: str) -> None:
    def serve() -> str:
        Call.begin("Sample", [("x-request-id", "r-1")])
        return formatter.format(record("working"))

    assert told in copy_context().run(serve)
    assert "request_id" not in formatter.format(record("idle"))


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was when the test is over."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield root
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


def test_json_lines_go_to_stderr_from_the_level_on(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    root.handlers.clear()
    configure_logs("WARNING", "json")
    logging.getLogger("gantry.test").info("quiet")
    logging.getLogger("gantry.test").warning("heard %s", "this")
    assert json.loads(capsys.readouterr().err)["message"] == "heard this"


def test_grpc_leaves_no_stack_trace_of_a_caller_who_has_gone(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    root.handlers.clear()
    configure_logs("WARNING", "text")
    for error in (grpc.aio.InternalError("gone"), ZeroDivisionError("a fault")):
        logging.getLogger("grpc._cython.cygrpc").error("raised", exc_info=error)
    logged = capsys.readouterr().err
    assert "gone" not in logged
    assert "a fault" in logged


def test_a_warning_of_python_is_a_line_like_others(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    root.handlers.clear()
    configure_logs("WARNING", "json")
    warnings.warn("two\nlines", UserWarning, stacklevel=1)
    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "WARNING"
    assert "UserWarning: two\nlines" in line["message"]
