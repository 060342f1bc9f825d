"""The closed table of faults, and the grammar in which a request (`x-chaos`) or a scenario's mix asks for them.

Knows nothing of HTTP or time: a fault here is only a name with checked parameters.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from sidecar.model import ERROR_STATUS

__all__ = ["FAULTS", "PARAMETERS", "STATUSES", "Fault", "FaultError", "FaultSpec", "parse_fault", "parse_sequence"]


class FaultError(ValueError):
    """A fault that cannot be: says what was found and what is allowed."""


class Fault(StrEnum):
    """What can go wrong; every status is one kind."""

    OK = "ok"
    STATUS = "status"
    HANG = "hang"
    SLOW_HEADERS = "slow-headers"
    STALL = "stall"
    TRUNCATE = "truncate"
    TRUNCATE_CLEAN = "truncate-clean"
    RESET = "reset"
    ERROR_EVENT = "error-event"
    MALFORMED_JSON = "malformed-json"
    MALFORMED_SSE = "malformed-sse"
    DRIP = "drip"
    HUGE = "huge"


STATUSES: Final = {
    **{status: error_type for error_type, status in ERROR_STATUS.items()},
    408: "timeout_error",
    502: "api_error",
    503: "api_error",
    524: "timeout_error",
}
"""Every status that can be asked for, and its body's error type: the API's own, and those of gateways before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """A fault with its parameters. What a fault does not take stays at its default."""

    fault: Fault = Fault.OK
    text: str = "ok"
    """As it was asked for, in one canonical spelling."""
    status: int = 200
    after: int = 3
    """Content events sent before it strikes."""
    seconds: float | None = None
    retry_after: float | None = None
    retry_after_ms: float | None = None
    should_retry: bool | None = None
    """The answer's ``x-should-retry``; None leaves it as the API would set it."""
    spend: bool = False
    after_headers: bool = False
    error_type: str = "overloaded_error"
    bytes: int = 16
    megabytes: int = 8
    # Overrides of what the scenario would have drawn, taken by every fault.
    latency: float | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None
    input_tokens: int | None = None
    stop: str | None = None
    gzip_stream: bool = False
    continues: bool = False
    """The answer goes on after what an assistant turn, followed by one of the user, already says of it."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    """How one parameter is written."""

    field: str
    parse: Callable[[str], Any]
    allowed: str


@dataclass(frozen=True, slots=True)
class FaultHelp:
    """One row of the table of faults."""

    help: str
    parameters: tuple[str, ...] = ()
    base: FaultSpec = field(default_factory=FaultSpec)


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(text)
        return value

    return parse


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return parse


def _one_of(choices: dict[str, Any]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if text not in choices:
            raise ValueError(text)
        return choices[text]

    return parse


_STOPS: Final = ("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal")
_FLAG: Final = {"": True, "true": True, "false": False}
_SECONDS: Final = "seconds, 0 to 86400"

PARAMETERS: Final[dict[str, _Parameter]] = {
    "after": _Parameter("after", _integer(0, 1_000_000), "a whole number of content events, 0 to 1000000"),
    "s": _Parameter("seconds", _number(0, 86_400), _SECONDS),
    "retry-after": _Parameter("retry_after", _number(0, 86_400), _SECONDS),
    "retry-after-ms": _Parameter("retry_after_ms", _number(0, 86_400_000), "milliseconds, 0 to 86400000"),
    "should-retry": _Parameter("should_retry", _one_of({"true": True, "false": False}), "true or false"),
    "spend": _Parameter("spend", _one_of(_FLAG), "nothing, true or false"),
    "when": _Parameter(
        "after_headers",
        _one_of({"before-headers": False, "after-headers": True}),
        "before-headers or after-headers",
    ),
    "type": _Parameter("error_type", _one_of({name: name for name in ERROR_STATUS}), ", ".join(ERROR_STATUS)),
    "bytes": _Parameter("bytes", _integer(1, 65_536), "a whole number of bytes, 1 to 65536"),
    "mb": _Parameter("megabytes", _integer(1, 64), "a whole number of megabytes, 1 to 64"),
    "latency": _Parameter("latency", _number(0, 86_400), _SECONDS),
    "tokens": _Parameter("tokens", _integer(1, 1_000_000), "a whole number, 1 to 1000000"),
    "tps": _Parameter("tokens_per_second", _number(0.001, 1e9), "tokens a second, 0.001 to 1e9"),
    "input-tokens": _Parameter("input_tokens", _integer(1, 10_000_000), "a whole number, 1 to 10000000"),
    "stop": _Parameter("stop", _one_of({name: name for name in _STOPS}), ", ".join(_STOPS)),
    "gzip-sse": _Parameter("gzip_stream", _one_of(_FLAG), "nothing, true or false"),
    "continue": _Parameter("continues", _one_of(_FLAG), "nothing, true or false"),
}
"""Every parameter of every fault: where it goes, how it is read, what is allowed."""

OVERRIDES: Final = ("latency", "tokens", "tps", "input-tokens", "stop", "gzip-sse", "continue")
"""Parameters that every fault takes: what the scenario would have drawn."""

_RETRY: Final = ("retry-after", "retry-after-ms", "should-retry")


def _row(fault: Fault, text: str, *parameters: str, **base: Any) -> FaultHelp:
    return FaultHelp(text, parameters, FaultSpec(fault=fault, **base))


FAULTS: Final[dict[str, FaultHelp]] = {
    "ok": _row(Fault.OK, "no fault; useful with overrides, and in a sequence"),
    **{
        str(status): _row(
            Fault.STATUS,
            f"answer {status} {STATUSES[status]}",
            *_RETRY,
            *(("spend",) if status == ERROR_STATUS["rate_limit_error"] else ()),
            status=status,
        )
        for status in sorted(STATUSES)
    },
    "hang": _row(Fault.HANG, "send nothing, ever; with s, close the connection after s seconds", "s"),
    "slow-headers": _row(Fault.SLOW_HEADERS, "send the headers only after s seconds", "s", seconds=2.0),
    "stall": _row(Fault.STALL, "fall silent after `after` content events; with s, go on after s seconds", "after", "s"),
    "truncate": _row(Fault.TRUNCATE, "close the connection after `after` content events, body unfinished", "after"),
    "truncate-clean": _row(
        Fault.TRUNCATE_CLEAN, "end the body properly after `after` content events, without message_stop", "after"
    ),
    "reset": _row(
        Fault.RESET, "reset the connection (RST): before the headers, or `after` content events later", "when", "after"
    ),
    "error-event": _row(Fault.ERROR_EVENT, "an `event: error` after `after` content events", "type", "after"),
    "malformed-json": _row(Fault.MALFORMED_JSON, "JSON that does not parse", "after"),
    "malformed-sse": _row(Fault.MALFORMED_SSE, "an event torn in two by a blank line", "after"),
    "drip": _row(Fault.DRIP, "send the body `bytes` at a time, one piece every s seconds", "bytes", "s", seconds=0.05),
    "huge": _row(Fault.HUGE, "an answer of `mb` megabytes of text", "mb"),
}
"""Every fault a request or a mix can name; `refused` is a whole phase's, never one request's."""

_MAX_ITEMS: Final = 100
_MAX_LENGTH: Final = 4_096
_ITEM: Final = re.compile(r"(?P<fault>.*?)(?:\s+x(?P<times>\d{1,3}))?", re.DOTALL)


def parse_fault(text: str) -> FaultSpec:
    """Read one fault with its parameters: ``stall;after=3``."""
    name, *parameters = [part.strip() for part in text.split(";")]
    row = FAULTS.get(name)
    if row is None:
        if name == "refused":
            raise FaultError("a request cannot be refused once it is here: set refuse = true in a scenario's phase")
        raise FaultError(f"unknown fault {_shown(name)}: allowed are {', '.join(FAULTS)}")
    values: dict[str, Any] = {}
    spelled = [name]
    for parameter in parameters:
        key, _, value = (part.strip() for part in parameter.partition("="))
        allowed = (*row.parameters, *OVERRIDES)
        if key not in allowed:
            raise FaultError(f"{name}: unknown parameter {_shown(key)}: allowed are {', '.join(allowed)}")
        how = PARAMETERS[key]
        if how.field in values:
            raise FaultError(f"{name}: parameter {key!r} is given twice: give it once")
        try:
            values[how.field] = how.parse(value)
        except (ValueError, OverflowError):
            raise FaultError(f"{name}: {key} is {_shown(value)}: allowed is {how.allowed}") from None
        spelled.append(f"{key}={value}" if value else key)
    if row.base.fault is Fault.RESET and "after" in values:
        values["after_headers"] = values.get("after_headers", True)
    elif row.base.fault is Fault.RESET:
        values["after"] = 0
    return replace(row.base, text=";".join(spelled), **values)


def parse_sequence(text: str) -> tuple[FaultSpec, ...]:
    """Read the faults of successive attempts: ``529,529,ok``, or the same as ``529 x2``.

    The last item holds for every further attempt, unless it is repeated with ``xN``: then ``ok`` follows.
    """
    if len(text) > _MAX_LENGTH:
        raise FaultError(f"x-chaos is {len(text)} characters long: allowed are {_MAX_LENGTH}")
    faults: list[FaultSpec] = []
    counted = False
    for item in text.split(","):
        match = _ITEM.fullmatch(item.strip())
        assert match is not None  # noqa: S101  # the expression matches any text
        spec = parse_fault(match["fault"])
        counted = match["times"] is not None
        faults.extend([spec] * int(match["times"] or 1))
        if not 0 < len(faults) <= _MAX_ITEMS or match["times"] in {"0", "00", "000"}:
            raise FaultError(f"x-chaos names too many or no attempts: allowed are 1 to {_MAX_ITEMS}")
    return (*faults, FaultSpec()) if counted else tuple(faults)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")  # noqa: PLR2004  # enough to recognise it
