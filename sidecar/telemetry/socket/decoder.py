"""Reads datagrams back. It assumes that whoever sent them is hostile: nothing is believed before it was checked.

A datagram that does not add up is refused whole, with a reason; a row that makes no sense is left out and counted.
What the values *mean* for the metrics is the telemetry's business.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from math import isfinite, isnan
from typing import Any, Final, TypeVar, cast

from sidecar.model import (
    ATTEMPT_OUTCOMES,
    ENDPOINTS,
    OTHER,
    AttemptRecord,
    CallRecord,
    LimitKind,
    Outcome,
    Phase,
    Profile,
    RateLimit,
    RetryResult,
    Source,
    TraceRef,
    Usage,
    Wait,
)
from sidecar.telemetry.snapshot import GaugeSnapshot, Sample
from sidecar.telemetry.socket import layout

_Word = TypeVar("_Word", bound=StrEnum)

_LONGEST: Final = 30 * 86_400.0
"""No call, and no part of one, takes a month: beyond is a broken clock or ill will, and would ruin a histogram."""
_LATEST: Final = 2.0**40
"""Of points in time: beyond any Unix second there will be."""
_MOST_TOKENS: Final = 2**40
_STATUS: Final = frozenset({layout.ABSENT_STATUS, *range(100, 1000)})


class MalformedError(ValueError):
    """A datagram that cannot be read; ``reason`` is a word for a metric's label."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Batch:
    """The records of one datagram."""

    attempts: list[AttemptRecord]
    calls: list[CallRecord]
    invalid: int
    """How many rows made no sense."""


def _words(members: Sequence[_Word]) -> dict[str | None, _Word]:
    return {member.value: member for member in members}


def _optional(members: Sequence[_Word]) -> dict[str | None, _Word | None]:
    return {None: None, **_words(members)}


_SOURCES: Final = _words(tuple(Source))
_PROFILES: Final = _words(tuple(Profile))
_OUTCOMES: Final = _words(tuple(Outcome))
_SENT: Final = _words(ATTEMPT_OUTCOMES)
_LIMIT_KINDS: Final = _words(tuple(LimitKind))
_PHASES: Final = _optional(tuple(Phase))
_RETRY_RESULTS: Final = _optional(tuple(RetryResult))
_ROUTES: Final[dict[str | None, str]] = {name: name for name in ENDPOINTS}
"""A newer sender's route that we do not know counts as ``other``."""
_SENSELESS: Final = (LookupError, ValueError)
"""What a row that makes no sense raises: an unknown word, a string that is not there, a value out of range."""


def decode(datagram: bytes) -> Batch | GaugeSnapshot:
    """Read one datagram, or raise ``MalformedError``."""
    if len(datagram) > layout.MAX_DATAGRAM:
        raise MalformedError("oversized", f"the datagram has {len(datagram)} bytes; {layout.MAX_DATAGRAM} are allowed")
    if len(datagram) < layout.HEADER.size:
        raise MalformedError("malformed", f"the datagram has {len(datagram)} bytes; its header alone has more")
    magic, version, kind, count, *sizes, length = layout.HEADER.unpack_from(datagram)
    if magic != layout.MAGIC:
        raise MalformedError("malformed", "the datagram is not one of claude-sidecar")
    if version != layout.VERSION:
        raise MalformedError("version", f"the datagram has version {version}; this is version {layout.VERSION}")
    if kind not in layout.SECTIONS:
        raise MalformedError("malformed", f"the datagram is of the unknown kind {kind}")
    end = layout.HEADER.size + count + length
    view = memoryview(datagram)
    sections: list[_Rows] = []
    for rows, struct in zip(sizes, layout.SECTIONS[kind], strict=True):
        start, end = end, end + rows * struct.size
        # A slice that is too short would still be cut into rows; the check below tells it.
        sections.append(struct.iter_unpack(view[start:end]) if end <= len(datagram) else iter(()))
    if end != len(datagram):
        raise MalformedError("malformed", f"the datagram has {len(datagram)} bytes; by its header it has {end}")
    strings = _strings(datagram, count, length)
    return _records(strings, sections) if kind == layout.RECORDS else _snapshot(strings, sections)


_Row = tuple[Any, ...]
_Rows = Iterator[_Row]
_Strings = list[str | None]


def _strings(datagram: bytes, count: int, length: int) -> _Strings:
    lengths = datagram[layout.HEADER.size : layout.HEADER.size + count]
    raw = datagram[layout.HEADER.size + count : layout.HEADER.size + count + length]
    if sum(lengths) != length:
        raise MalformedError("malformed", f"the strings have {sum(lengths)} bytes; the header says {length}")
    strings: _Strings = [None]
    position = 0
    try:
        # All names are ASCII in nearly every datagram, and then the bytes are the characters.
        text = raw.decode()
        whole = len(text) == length
        for size in lengths:
            end = position + size
            strings.append(text[position:end] if whole else raw[position:end].decode())
            position = end
    except UnicodeDecodeError as error:
        raise MalformedError("malformed", "the strings are not UTF-8") from error
    if not text.isprintable():
        raise MalformedError("malformed", "the strings hold characters that cannot be printed")
    return strings


def _records(strings: _Strings, sections: Sequence[_Rows]) -> Batch:
    attempt_heads, call_heads, attempts, calls, limits, waits = sections
    told: list[AttemptRecord] = []
    ended: list[CallRecord] = []
    invalid = 0
    heads = [_head(_attempt_head, strings, row) for row in attempt_heads]
    for row in attempts:
        parts = _take(limits, row[4])
        try:
            told.append(_attempt(strings, heads, row, parts))
        except _SENSELESS:
            invalid += 1
    heads = [_head(_call_head, strings, row) for row in call_heads]
    for row in calls:
        parts = _take(waits, row[4])
        try:
            ended.append(_call(strings, heads, row, parts))
        except _SENSELESS:
            invalid += 1
    _nothing_left(limits, waits)
    return Batch(told, ended, invalid)


def _snapshot(strings: _Strings, sections: Sequence[_Rows]) -> GaugeSnapshot:
    gauges, counters, labels, *unused = sections
    process = strings[1] if len(strings) > 1 else None
    if not process:
        raise MalformedError("malformed", "the snapshot does not name its process")
    try:
        snapshot = GaugeSnapshot(
            process=process,
            gauges=tuple([_sample(strings, row, _take(labels, row[1])) for row in gauges]),
            counters=tuple([_sample(strings, row, _take(labels, row[1])) for row in counters]),
        )
    except _SENSELESS as error:
        raise MalformedError("malformed", f"a series of the snapshot makes no sense: {error}") from error
    _nothing_left(labels, *unused)
    return snapshot


def _take(rows: _Rows, count: int) -> list[_Row]:
    if not count:
        return []
    taken = list(islice(rows, count))
    if len(taken) < count:
        raise MalformedError("malformed", "a row claims more parts than the datagram holds")
    return taken


def _nothing_left(*sections: _Rows) -> None:
    if any(True for rows in sections for _ in rows):
        raise MalformedError("malformed", "the datagram holds parts that no row claims")


def _head(read: Callable[[_Strings, _Row], _Row], strings: _Strings, row: _Row) -> _Row | None:
    try:
        return read(strings, row)
    except _SENSELESS:
        return None


def _attempt_head(strings: _Strings, row: _Row) -> _Row:
    *names, stream, status, port = row
    source, endpoint, model, profile, outcome, phase, error_type, method, host = [strings[number] for number in names]
    if status not in _STATUS:
        raise ValueError("a status has three digits")
    return (
        _SOURCES[source],
        _ROUTES.get(endpoint, OTHER),
        model or "",
        _PROFILES[profile],
        _SENT[outcome],
        _PHASES[phase],
        error_type,
        method or "",
        host or "",
        stream,
        status or None,
        port or None,
    )


def _call_head(strings: _Strings, row: _Row) -> _Row:
    *names, stream = row
    source, endpoint, model, profile, outcome, phase, error_type, host, result, stop = [strings[n] for n in names]
    return (
        _SOURCES[source],
        _ROUTES.get(endpoint, OTHER),
        model or "",
        _PROFILES[profile],
        _OUTCOMES[outcome],
        _PHASES[phase],
        error_type,
        host or "",
        _RETRY_RESULTS[result],
        stop,
        stream,
    )


# A frozen dataclass sets each field through object.__setattr__, which took half of the time of reading a datagram. A
# draft with the very same slots takes plain assignments; changing its class then makes it the frozen record, which
# Python allows between classes of one layout.
class _AttemptDraft:
    __slots__ = AttemptRecord.__slots__


class _CallDraft:
    __slots__ = CallRecord.__slots__


def _attempt(strings: _Strings, heads: list[_Row | None], row: _Row, limits: list[_Row]) -> AttemptRecord:
    at, request_id, number, flags, _, started_at, duration, first_byte, first_token, max_gap, max_gap_at, trace = row
    head = heads[at]
    if head is None or not (0.0 <= started_at <= _LATEST and 0.0 <= duration <= _LONGEST):
        raise ValueError("its head makes no sense, or its times are out of range")
    source, endpoint, model, profile, outcome, phase, error_type, method, host, stream, status, port = head
    record: Any = _AttemptDraft()
    record.source = source
    record.endpoint = endpoint
    record.model = model
    record.profile = profile
    record.stream = stream
    record.number = number
    record.started_at = started_at
    record.duration = duration
    record.outcome = outcome
    record.phase = phase
    record.status = status
    record.error_type = error_type
    record.method = method
    record.host = host
    record.port = port
    record.request_id = strings[request_id]
    record.first_byte = None if isnan(first_byte) else _seconds(first_byte)
    record.first_token = None if isnan(first_token) else _seconds(first_token)
    record.max_gap = None if isnan(max_gap) else _seconds(max_gap)
    record.max_gap_at = None if isnan(max_gap_at) else _seconds(max_gap_at)
    record.limits = tuple([_limit(strings, limit) for limit in limits]) if limits else ()
    record.trace = None if trace == layout.NO_TRACE else _trace(trace, flags)
    record.__class__ = AttemptRecord
    return cast("AttemptRecord", record)


def _call(strings: _Strings, heads: list[_Row | None], row: _Row, waits: list[_Row]) -> CallRecord:
    at, request_id, attempts, flags, _, started_at, duration, first_token, output_seconds, *tokens, trace = row
    head = heads[at]
    if head is None or not (0.0 <= started_at <= _LATEST and 0.0 <= duration <= _LONGEST):
        raise ValueError("its head makes no sense, or its times are out of range")
    source, endpoint, model, profile, outcome, phase, error_type, host, retry_result, stop_reason, stream = head
    record: Any = _CallDraft()
    record.source = source
    record.endpoint = endpoint
    record.model = model
    record.profile = profile
    record.stream = stream
    record.started_at = started_at
    record.duration = duration
    record.outcome = outcome
    record.phase = phase
    record.attempts = attempts
    record.waits = tuple([_wait(strings, wait) for wait in waits]) if waits else ()
    record.retry_result = retry_result
    record.error_type = error_type
    record.host = host
    record.request_id = strings[request_id]
    record.first_token = None if isnan(first_token) else _seconds(first_token)
    record.output_seconds = None if isnan(output_seconds) else _seconds(output_seconds)
    record.usage = _usage(*tokens) if flags & layout.USAGE else None
    record.stop_reason = stop_reason
    record.trace = None if trace == layout.NO_TRACE else _trace(trace, flags)
    record.__class__ = CallRecord
    return cast("CallRecord", record)


def _usage(*tokens: int) -> Usage:
    if max(tokens) > _MOST_TOKENS:
        raise ValueError("no call has that many tokens")
    prompt, output, cache_read, cache_write = tokens
    return Usage(input=prompt, output=output, cache_read=cache_read, cache_write=cache_write)


def _limit(strings: _Strings, row: _Row) -> RateLimit:
    kind, limit, remaining, reset_at = row
    return RateLimit(
        kind=_LIMIT_KINDS[strings[kind]],
        limit=_count(limit),
        remaining=_count(remaining),
        reset_at=None if isnan(reset_at) else _moment(reset_at),
    )


def _wait(strings: _Strings, row: _Row) -> Wait:
    reason, completed, at, seconds = row
    return Wait(reason=_OUTCOMES[strings[reason]], completed=completed, at=_seconds(at), seconds=_seconds(seconds))


def _sample(strings: _Strings, row: _Row, labels: list[_Row]) -> Sample:
    family, _, value, at = row
    if not isfinite(value):
        raise ValueError("a value is not finite")
    return Sample(
        family=strings[family] or "",
        labels=tuple([strings[number] or "" for (number,) in labels]),
        value=value,
        at=_moment(at),
    )


def _trace(ids: bytes, flags: int) -> TraceRef:
    both = ids.hex()
    trace_id, span_id = both[:32], both[32:]
    if not trace_id.strip("0") or not span_id.strip("0"):
        raise ValueError("an id of zeros names no span")
    return TraceRef(trace_id=trace_id, span_id=span_id, sampled=bool(flags & layout.SAMPLED))


def _seconds(value: float) -> float:
    if 0.0 <= value <= _LONGEST:
        return value
    raise ValueError("a duration is out of range")


def _moment(value: float) -> float:
    if 0.0 <= value <= _LATEST:
        return value
    raise ValueError("a point in time is out of range")


def _count(value: int) -> int | None:
    if value >= 0:
        return value
    if value == layout.ABSENT_COUNT:
        return None
    raise ValueError("a count is negative")
