"""What is logged, and how it looks: one line of text or JSON for each event, to standard error.

A line holds fixed words, measurements and names: no content, no header, no key, and no message of an exception, which
may quote any of them. What a peer chose (a model's name, a request id) is quoted, so that it cannot forge a line.
"""

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from sidecar.model import AVAILABILITY_FAILURES, AttemptRecord, CallRecord

WARNINGS_A_SECOND: Final = 10
"""Of failures: when everything fails, the log must not be what fills the disk."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/@+-]+")
_LOGGER: Final = logging.getLogger("sidecar.proxy.requests")
_ROOT: Final = "sidecar"
_TRACES: Final = "opentelemetry"
"""Its exporter logs by itself where traces cannot be sent; unasked, as bare text amidst our lines."""


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """What is worth a log line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def set_up(form: LogFormat, level: LogLevel, *, worker: int | None = None) -> None:
    """Send what our parts log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form, {} if worker is None else {"worker": worker}))
    for name in (_ROOT, _TRACES):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
    set_level(level)


def set_level(level: LogLevel) -> None:
    """Change what is worth a line."""
    logging.getLogger(_ROOT).setLevel(level.upper())


def log_loop_errors(_loop: object, context: Mapping[str, Any]) -> None:
    """Log what an event loop could not raise into anybody; its own way shows whatever was passed along."""
    error = context.get("exception")
    shown = None if error is None else (type(error), error, error.__traceback__)
    logging.getLogger("sidecar.proxy").error("an error that nobody handled", exc_info=shown)


class RequestLog:
    """A sink for `Telemetry` that makes a line of each request's end: of failures always, of others where asked for."""

    def __init__(self, *, access: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.access = access
        """Whether requests that went well are worth a line at level info; they are at level debug."""
        self._clock = clock
        self._second = 0
        self._in_second = 0
        self._unsaid = 0

    def attempt(self, record: AttemptRecord, /) -> None:
        """Take a finished attempt."""
        if record.outcome in AVAILABILITY_FAILURES:
            self._warn("request failed", record)
        else:
            self._mention("request ended", record)

    def call(self, record: CallRecord, /) -> None:
        """Take a finished call; only what was never sent on is news here."""
        if record.attempts:
            return
        if record.outcome in AVAILABILITY_FAILURES:
            self._warn("request rejected", record)
        else:
            self._mention("request refused", record)

    def _warn(self, message: str, record: AttemptRecord | CallRecord) -> None:
        second = int(self._clock())
        if second != self._second:
            if self._unsaid:
                _LOGGER.warning("failures are many", extra={"fields": {"not_shown": self._unsaid}})
            self._second, self._in_second, self._unsaid = second, 0, 0
        self._in_second += 1
        if self._in_second > WARNINGS_A_SECOND:
            self._unsaid += 1
        else:
            _LOGGER.warning(message, extra={"fields": _fields(record)})

    def _mention(self, message: str, record: AttemptRecord | CallRecord) -> None:
        level = logging.INFO if self.access else logging.DEBUG
        if _LOGGER.isEnabledFor(level):
            _LOGGER.log(level, message, extra={"fields": _fields(record)})


def _fields(record: AttemptRecord | CallRecord) -> dict[str, Any]:
    found = {
        "outcome": record.outcome.value,
        "phase": record.phase.value if record.phase else None,
        "error_type": record.error_type,
        "endpoint": record.endpoint,
        "model": record.model or None,
        "profile": record.profile.value,
        "stream": record.stream,
        "seconds": round(record.duration, 4),
        "request_id": record.request_id,
        "trace_id": record.trace.trace_id if record.trace else None,
        "upstream": record.host or None,
    }
    if isinstance(record, AttemptRecord):
        first_byte = record.first_byte
        found |= {
            "status": record.status,
            "retry": record.number or None,
            "first_byte": None if first_byte is None else round(first_byte, 4),
        }
    return {name: value for name, value in found.items() if value is not None}


class _Formatter(logging.Formatter):
    """Makes a line of a log record."""

    def __init__(self, form: LogFormat, always: Mapping[str, Any]) -> None:
        super().__init__()
        self._json = form is LogFormat.JSON
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        level, message = record.levelname.lower(), record.getMessage()
        fields = {**self._always, **getattr(record, "fields", {})}
        if record.name.partition(".")[0] != _ROOT:
            fields |= {"logger": record.name, "said": message}
            message = "a library speaks"
        if record.exc_info and record.exc_info[0] is not None:
            fields |= {"error": record.exc_info[0].__name__, "at": _place(record.exc_info)}
        if self._json:
            line = {"time": moment, "level": level, "logger": record.name, "message": message, **fields}
            return json.dumps(line, separators=(",", ":"))
        parts = [moment, f"{level:<7}", message, *(f"{name}={_shown(value)}" for name, value in fields.items())]
        return " ".join(parts)


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _place(exc_info: Any) -> str:
    frames = traceback.extract_tb(exc_info[2])
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames)) or "unknown"
