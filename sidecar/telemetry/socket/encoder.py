"""Packs finished records and gauge snapshots into datagrams. What it writes, ``decoder`` reads; see ``layout``."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from struct import error as StructError  # noqa: N812  # `error` alone says nothing where it is caught
from typing import Any, Final

from sidecar.model import AttemptRecord, CallRecord, RateLimit, TraceRef, Wait
from sidecar.telemetry.snapshot import GaugeSnapshot
from sidecar.telemetry.socket import layout

Record = AttemptRecord | CallRecord

_NAN: Final = float("nan")
_ROOM: Final = layout.MAX_DATAGRAM - layout.HEADER.size
# The most that one more record can add: every string new and of full length, its rows, and its limits or waits.
_LARGEST: Final = 11 * (layout.MAX_STRING + 1) + 200 + layout.MAX_PARTS * (layout.LIMIT.size + 2)
_REFUSALS: Final = (StructError, ValueError, TypeError, AttributeError)
"""What packing a value of the wrong type or range raises."""

# What heads hold, in the layout's order: names first.
_ATTEMPT_HEAD: Final = attrgetter(
    *("source", "endpoint", "model", "profile", "outcome", "phase", "error_type", "method", "host"),
    *("stream", "status", "port"),
)
_CALL_HEAD: Final = attrgetter(
    *("source", "endpoint", "model", "profile", "outcome", "phase", "error_type", "host", "retry_result"),
    *("stop_reason", "stream"),
)
_TOKENS: Final = attrgetter("input", "output", "cache_read", "cache_write")
_NO_TOKENS: Final = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A datagram, and what went into it."""

    data: bytes
    items: int
    """How many records, or series, it holds."""
    refused: int
    """How many were left out: their values do not fit the layout or, of series, there was no more room."""


class _Strings:
    """The string table while it is built: each text once."""

    __slots__ = ("_texts", "numbers", "size")

    def __init__(self) -> None:
        self.numbers: dict[str | None, int] = {None: 0, "": 0}
        self.size = 0
        self._texts: list[bytes] = []

    def number(self, text: str | None) -> int:
        number = self.numbers.get(text)
        return self._add(text) if number is None else number

    def _add(self, text: str | None) -> int:
        if not isinstance(text, str):
            raise TypeError(f"not text: {type(text).__name__}")
        # Names come from applications: what is unsafe to print is masked here, once for each distinct text.
        shown = text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
        raw = shown.encode()
        if len(raw) > layout.MAX_STRING:
            raw = raw[: layout.MAX_STRING].decode(errors="ignore").encode()
        self._texts.append(raw)
        self.size += len(raw) + 1
        number = self.numbers[text] = len(self._texts)
        return number

    def table(self) -> tuple[int, bytes, bytes]:
        return len(self._texts), bytes(map(len, self._texts)), b"".join(self._texts)


class _Records:
    """The sections of a datagram of records while they are built."""

    __slots__ = ("_attempt_heads", "_call_heads", "sections", "size", "strings")

    def __init__(self) -> None:
        self.strings: Final = _Strings()
        self.sections: Final[tuple[list[bytes], ...]] = ([], [], [], [], [], [])
        self.size = 0
        self._attempt_heads: dict[tuple[Any, ...], int] = {}
        self._call_heads: dict[tuple[Any, ...], int] = {}

    def attempt(self, record: AttemptRecord) -> None:
        heads, _, rows, _, all_limits, _ = self.sections
        names = _ATTEMPT_HEAD(record)
        head = self._attempt_heads.get(names)
        if head is None:
            *texts, stream, status, port = names
            numbers = map(self.strings.number, texts)
            packed = layout.ATTEMPT_HEAD.pack(
                *numbers, stream, status or layout.ABSENT_STATUS, port or layout.ABSENT_PORT
            )
            head = self._attempt_heads[names] = self._add_head(heads, packed)
        limits = [_limit(self.strings, limit) for limit in record.limits[-layout.MAX_PARTS :]] if record.limits else ()
        trace = record.trace
        row = layout.ATTEMPT.pack(
            head,
            self.strings.number(record.request_id),
            record.number,
            layout.SAMPLED if trace is not None and trace.sampled else 0,
            len(limits),
            record.started_at,
            record.duration,
            _NAN if record.first_byte is None else record.first_byte,
            _NAN if record.first_token is None else record.first_token,
            _NAN if record.max_gap is None else record.max_gap,
            _NAN if record.max_gap_at is None else record.max_gap_at,
            layout.NO_TRACE if trace is None else _trace(trace),
        )
        rows.append(row)
        all_limits.extend(limits)
        self.size += len(row) + len(limits) * layout.LIMIT.size

    def call(self, record: CallRecord) -> None:
        _, heads, _, rows, _, all_waits = self.sections
        names = _CALL_HEAD(record)
        head = self._call_heads.get(names)
        if head is None:
            *texts, stream = names
            packed = layout.CALL_HEAD.pack(*map(self.strings.number, texts), stream)
            head = self._call_heads[names] = self._add_head(heads, packed)
        waits = [_wait(self.strings, wait) for wait in record.waits[-layout.MAX_PARTS :]] if record.waits else ()
        trace, usage = record.trace, record.usage
        row = layout.CALL.pack(
            head,
            self.strings.number(record.request_id),
            record.attempts,
            (layout.SAMPLED if trace is not None and trace.sampled else 0) | (0 if usage is None else layout.USAGE),
            len(waits),
            record.started_at,
            record.duration,
            _NAN if record.first_token is None else record.first_token,
            _NAN if record.output_seconds is None else record.output_seconds,
            *(_NO_TOKENS if usage is None else _TOKENS(usage)),
            layout.NO_TRACE if trace is None else _trace(trace),
        )
        rows.append(row)
        all_waits.extend(waits)
        self.size += len(row) + len(waits) * layout.WAIT.size

    def _add_head(self, section: list[bytes], head: bytes) -> int:
        section.append(head)
        self.size += len(head)
        return len(section) - 1


def encode_records(records: Sequence[Record], start: int = 0, *, limit: int = layout.MAX_ROWS) -> tuple[Encoded, int]:
    """Pack as many records as one datagram holds, beginning at ``start``; say too where the next one begins."""
    batch = _Records()
    refused = 0
    end = start
    stop = min(len(records), start + limit)
    while end < stop and batch.size + batch.strings.size <= _ROOM - _LARGEST:
        record = records[end]
        end += 1
        try:
            if isinstance(record, AttemptRecord):
                batch.attempt(record)
            else:
                batch.call(record)
        except _REFUSALS:
            refused += 1
    return Encoded(_join(layout.RECORDS, batch.strings, batch.sections), end - start - refused, refused), end


def encode_snapshot(snapshot: GaugeSnapshot) -> Encoded:
    """Pack a snapshot into one datagram."""
    strings = _Strings()
    strings.number(snapshot.process)  # so that it is string 1
    gauges: list[bytes] = []
    counters: list[bytes] = []
    labels: list[bytes] = []
    size = refused = 0
    for section, samples in ((gauges, snapshot.gauges), (counters, snapshot.counters)):
        for sample in samples:
            if size + strings.size > _ROOM - _LARGEST:
                refused += 1
                continue
            try:
                numbers = [layout.LABEL.pack(strings.number(label)) for label in sample.labels]
                row = layout.SAMPLE.pack(strings.number(sample.family), len(numbers), sample.value, sample.at)
            except _REFUSALS:
                refused += 1
                continue
            section.append(row)
            labels += numbers
            size += len(row) + len(numbers) * layout.LABEL.size
    data = _join(layout.SNAPSHOT, strings, (gauges, counters, labels, [], [], []))
    return Encoded(data, len(gauges) + len(counters), refused)


def _join(kind: int, strings: _Strings, sections: Sequence[Sequence[bytes]]) -> bytes:
    count, lengths, text = strings.table()
    header = layout.HEADER.pack(layout.MAGIC, layout.VERSION, kind, count, *map(len, sections), len(text))
    return b"".join((header, lengths, text, *chain.from_iterable(sections)))


def _trace(trace: TraceRef) -> bytes:
    ids = bytes.fromhex(trace.trace_id + trace.span_id)
    if len(ids) != len(layout.NO_TRACE):
        raise ValueError("a trace id has 32 hex digits and a span id 16")
    return ids


def _limit(strings: _Strings, limit: RateLimit) -> bytes:
    absent = layout.ABSENT_COUNT
    return layout.LIMIT.pack(
        strings.number(limit.kind),
        absent if limit.limit is None else limit.limit,
        absent if limit.remaining is None else limit.remaining,
        _NAN if limit.reset_at is None else limit.reset_at,
    )


def _wait(strings: _Strings, wait: Wait) -> bytes:
    return layout.WAIT.pack(strings.number(wait.reason), wait.completed, wait.at, wait.seconds)
