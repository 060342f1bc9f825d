"""The one place that decides what a status, an API error, an exception or the end of a stream *is*.

Exceptions are told apart by the names in their class's ancestry, so that no HTTP library is ever imported for it:
httpx2, httpx, httpcore, aiohttp, requests' urllib3 and the SDK all use the same few names.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from sidecar.model.vocabulary import Outcome, Phase

SPEND_LIMIT_CODE: Final = "enforced_spend_limit_reached"
"""The ``error.details.error_code`` of a 429 that is about money, not load: waiting does not help, so never retry it."""

ERROR_STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The API's error types and the status each stands for, also when it comes inside a stream that began with 200."""

_GATEWAY_TIMEOUTS: Final = frozenset({408, 504, 524})
_FIRST_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happened, in the project's words."""

    outcome: Outcome
    phase: Phase | None = None
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class ApiError:
    """The telling parts of an API error body; its message may hold content and is left behind."""

    type: str | None = None
    code: str | None = None


class Stage(Enum):
    """How far an attempt had come when something ended it."""

    PREPARING = "preparing"
    """Nothing was sent."""
    WAITING = "waiting"
    """Sent, or being sent; no response yet."""
    READING = "reading"
    """The response has begun, and its body is being read."""
    STREAMING = "streaming"
    """The same, of an event stream."""


class StreamEnd(Enum):
    """How the bytes of an event stream ended."""

    COMPLETE = "complete"
    """``message_stop`` was seen; what came after it does not matter."""
    EOF = "eof"
    """The body ended, cleanly by HTTP's rules, without ``message_stop``."""
    CLOSED = "closed"
    """The application stopped reading."""


OK: Final = Verdict(Outcome.OK)
CANCELLED: Final = Verdict(Outcome.CANCELLED)
TRUNCATED: Final = Verdict(Outcome.TRUNCATED)
UNPARSABLE: Final = Verdict(Outcome.SERVER_ERROR, error_type="unparsable_answer")
"""An answer with a good status whose body cannot be understood."""
CLIENT_TIMEOUT: Final = Verdict(Outcome.TIMEOUT, Phase.CLIENT)
"""Seen by the proxy: the caller hung up when its own announced timeout was due."""
DEADLINE: Final = Verdict(Outcome.TIMEOUT, Phase.DEADLINE)
"""The call's own total ran out."""


def classify_status(status: int, error: ApiError | None = None) -> Verdict:
    """Classify a response by its status, and by its error body where one was read."""
    error_type = error.type if error else None
    if status < _FIRST_ERROR:
        return OK
    if status in _GATEWAY_TIMEOUTS:
        return Verdict(Outcome.TIMEOUT, Phase.GATEWAY, error_type)
    if status == ERROR_STATUS["rate_limit_error"]:
        spent = error is not None and error.code == SPEND_LIMIT_CODE
        return Verdict(Outcome.CLIENT_ERROR if spent else Outcome.RATE_LIMITED, None, error_type)
    if status == ERROR_STATUS["overloaded_error"]:
        return Verdict(Outcome.OVERLOADED, None, error_type)
    return Verdict(Outcome.SERVER_ERROR if status >= _FIRST_SERVER_ERROR else Outcome.CLIENT_ERROR, None, error_type)


def classify_stream_error(error: ApiError) -> Verdict:
    """Classify an ``event: error`` inside a stream by the status its type stands for."""
    return classify_status(ERROR_STATUS.get(error.type or "", 500), error)


def classify_stream_end(end: StreamEnd) -> Verdict:
    """Classify the end of an event stream that held no ``event: error``."""
    return {StreamEnd.COMPLETE: OK, StreamEnd.EOF: TRUNCATED, StreamEnd.CLOSED: CANCELLED}[end]


def parse_api_error(body: bytes | str | object) -> ApiError:
    """Take type and code from an error body, raw or decoded; what cannot be read leaves them None."""
    if isinstance(body, bytes | str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return ApiError()
    error = _get(body, "error")
    return ApiError(_text(_get(error, "type")), _text(_get(_get(error, "details"), "error_code")))


def classify_exception(error: BaseException, stage: Stage = Stage.WAITING) -> Verdict:
    """Classify what an attempt raised.

    ``stage`` is how far the attempt had come: one and the same read timeout is ``first_byte`` before the response
    has begun and ``stall`` after.
    """
    name = type(error).__name__
    ancestry = frozenset(cls.__name__ for cls in type(error).__mro__)
    if ancestry & _GIVING_UP:
        return Verdict(Outcome.CANCELLED, None, name)
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and "APIResponseValidationError" not in ancestry:
        api = parse_api_error(getattr(error, "body", None))
        verdict = classify_stream_error(api) if status < _FIRST_ERROR else classify_status(status, api)
        return verdict if verdict.error_type else Verdict(verdict.outcome, verdict.phase, name)
    if error.__cause__ is not None and ancestry & _WRAPPERS and not ancestry & _DEADLINES:
        # The SDK's own types say "timeout" or "connection"; only what they wrap says which. A deadline that ran out
        # says so itself: what it wraps is the read that was cut short for it.
        cause = classify_exception(error.__cause__, stage)
        if cause.outcome is not Outcome.CLIENT_ERROR:
            return cause
    for names, rule in _RULES:
        if ancestry & names:
            outcome, phase = rule(stage)
            return Verdict(outcome, phase, name)
    if type(error) is OSError:  # "no route to host" and its like; the named subclasses are about files
        return Verdict(_broken(stage)[0], None, name)
    # An exception of nobody we know, mostly the application's own: it says nothing of the upstream.
    return Verdict(Outcome.CLIENT_ERROR, None, name)


_Rule = Callable[[Stage], tuple[Outcome, Phase | None]]


def _read_timeout(stage: Stage) -> tuple[Outcome, Phase | None]:
    responding = stage in {Stage.READING, Stage.STREAMING}
    return Outcome.TIMEOUT, Phase.STALL if responding else Phase.FIRST_BYTE


def _plain_timeout(stage: Stage) -> tuple[Outcome, Phase | None]:
    return (Outcome.TIMEOUT, Phase.CONNECT) if stage is Stage.PREPARING else _read_timeout(stage)


def _broken(stage: Stage) -> tuple[Outcome, Phase | None]:
    return (Outcome.TRUNCATED if stage is Stage.STREAMING else Outcome.CONNECTION_ERROR), None


def _always(outcome: Outcome, phase: Phase | None = None) -> _Rule:
    return lambda _: (outcome, phase)


_GIVING_UP: Final = frozenset({"CancelledError", "Cancelled", "GeneratorExit", "KeyboardInterrupt", "SystemExit"})
_WRAPPERS: Final = frozenset({"APIConnectionError", "ClientConnectionError"})
_DEADLINES: Final = frozenset({"DeadlineExceeded"})
_CONNECT_TIMEOUTS: Final = frozenset({"ConnectTimeout", "ConnectionTimeoutError", "ConnectTimeoutError"})
_UNPARSABLE_ANSWERS: Final = frozenset(
    {
        "DecodingError",
        "APIResponseValidationError",
        "ContentEncodingError",
        "JSONDecodeError",
    }
)
_BROKEN_CONNECTIONS: Final = frozenset(
    {
        "NetworkError",
        "ProtocolError",
        "ProxyError",
        "ConnectionError",
        "APIConnectionError",
        "ClientConnectionError",
        "ClientPayloadError",
        "IncompleteReadError",
        "SSLError",
        "gaierror",
    }
)

# First match wins, so the narrow names stand before the wide ones.
_RULES: Final[tuple[tuple[frozenset[str], _Rule], ...]] = (
    (_DEADLINES, _always(Outcome.TIMEOUT, Phase.DEADLINE)),
    (frozenset({"BreakerOpen"}), _always(Outcome.REJECTED)),
    (frozenset({"PoolTimeout"}), _always(Outcome.TIMEOUT, Phase.POOL)),
    (_CONNECT_TIMEOUTS, _always(Outcome.TIMEOUT, Phase.CONNECT)),
    (frozenset({"WriteTimeout"}), _always(Outcome.TIMEOUT, Phase.WRITE)),
    (frozenset({"ReadTimeout", "ReadTimeoutError", "SocketTimeoutError"}), _read_timeout),
    (frozenset({"TimeoutException", "TimeoutError", "APITimeoutError", "Timeout"}), _plain_timeout),
    (_UNPARSABLE_ANSWERS, _always(Outcome.SERVER_ERROR)),
    (frozenset({"LocalProtocolError", "UnsupportedProtocol", "InvalidURL"}), _always(Outcome.CLIENT_ERROR)),
    (_BROKEN_CONNECTIONS, _broken),
)


def _get(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
