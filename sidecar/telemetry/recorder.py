"""From a record to its series: which families it touches, and with which labels.

A record is counted whole or not at all: everything is checked and looked up before the first number changes. The
caller holds the store's lock. The series of each combination of labels are looked up once and kept together, so that
a further record costs one dictionary look-up.
"""

import math
import re
from operator import index
from typing import TYPE_CHECKING, Final, NoReturn

from sidecar.model import (
    ATTEMPT_OUTCOMES,
    AttemptRecord,
    CallRecord,
    LimitKind,
    Outcome,
    Phase,
    Profile,
    RetryResult,
    Source,
    TraceRef,
    Usage,
)
from sidecar.telemetry import families as f
from sidecar.telemetry.guard import LabelGuard
from sidecar.telemetry.series import AttemptLabels, AttemptSeries, CallLabels, CallSeries, flag
from sidecar.telemetry.store import Counter, Gauge, Store

if TYPE_CHECKING:
    from sidecar.telemetry.histogram import SparseHistogram

LIMIT: Final = 2.0**40
"""More seconds or tokens than this are nonsense."""

MALFORMED: Final = "malformed"
REASONS: Final = ("not_finite", "negative", "too_large")
"""Why a number makes no sense."""

_TRACE_ID: Final = re.compile("[0-9a-f]{32}")

_AttemptKey = tuple[Source, str, str, Profile, Outcome, int | None]
_CallKey = tuple[Source, str, str, Profile, bool, Outcome]


class UnfitError(ValueError):
    """A record makes no sense; the message is the reason it is counted under."""


class Recorder:
    """Counts records."""

    def __init__(self, store: Store, guard: LabelGuard) -> None:
        self._store: Final = store
        self._guard: Final = guard
        # By the labels as records have them. Only what the guard took as it came is kept: that bounds them.
        self._attempts: Final[dict[_AttemptKey, AttemptSeries]] = {}
        self._calls: Final[dict[_CallKey, CallSeries]] = {}
        self._attempts_by_labels: Final[dict[AttemptLabels, AttemptSeries]] = {}
        self._calls_by_labels: Final[dict[CallLabels, CallSeries]] = {}

    def attempt(self, record: AttemptRecord) -> None:
        """Count a finished attempt, or raise when it makes no sense."""
        key = (record.source, record.endpoint, record.model, record.profile, record.outcome, record.status)
        series = self._attempts.get(key) or self._attempt_series(key)
        duration = record.duration + 0.0  # a float from here on, or a TypeError while nothing has changed
        if not 0.0 <= duration <= LIMIT:
            _refuse(duration)
        gap = record.max_gap
        if gap is not None and not 0.0 <= (gap := gap + 0.0) <= LIMIT:
            _refuse(gap)
        timeout = None if series.timeouts is None else series.timeouts[Phase(record.phase or "")]
        exemplar = None if record.trace is None else _exemplar(record.trace, record.started_at + duration)
        if record.limits:
            self._limits(record)  # checks all before it sets any

        series.total.value += 1
        series.duration.add(duration)
        if gap is not None:
            series.gap.add(gap)
        if timeout is not None:
            timeout.value += 1
        if exemplar is not None:
            series.duration.add_exemplar(duration, *exemplar)
            if gap is not None:
                series.gap.add_exemplar(gap, *exemplar)

    def call(self, record: CallRecord) -> None:
        """Count a finished call, or raise when it makes no sense."""
        key = (record.source, record.endpoint, record.model, record.profile, record.stream, record.outcome)
        series = self._calls.get(key) or self._call_series(key)
        duration = record.duration + 0.0  # the same
        if not 0.0 <= duration <= LIMIT:
            _refuse(duration)
        first_token = record.first_token
        if first_token is not None and not 0.0 <= (first_token := first_token + 0.0) <= LIMIT:
            _refuse(first_token)
        tokens = None if record.usage is None else _tokens(record.usage, record.output_seconds)
        exemplar = None if record.trace is None else _exemplar(record.trace, record.started_at + duration)
        stop = None
        if record.stop_reason is not None:
            stop = series.stops.get(record.stop_reason) or self._stop(record, series)
        if record.waits or record.retry_result is not None:
            self._retries(record, series)  # checks all before it counts any

        series.total.value += 1
        series.duration.add(duration)
        if first_token is not None:
            series.first_token.add(first_token)
        if tokens is not None:
            _add_tokens(series, tokens)
        if stop is not None:
            stop.value += 1
        if exemplar is not None:
            series.duration.add_exemplar(duration, *exemplar)
            if first_token is not None:
                series.first_token.add_exemplar(first_token, *exemplar)

    def _attempt_series(self, key: _AttemptKey) -> AttemptSeries:
        source, endpoint, model, profile, outcome, status = key
        if outcome not in ATTEMPT_OUTCOMES or not (status is None or isinstance(status, int)):
            raise UnfitError(MALFORMED)
        words = (Profile(profile).value, Outcome(outcome).value, Source(source).value)
        (endpoint, model, code), stable = self._admit(
            outcome, endpoint=endpoint, model=model, status="" if status is None else str(status)
        )
        labels = AttemptLabels(endpoint, model, words[0], words[1], code, words[2])
        series = self._attempts_by_labels.get(labels)
        if series is None:
            series = self._attempts_by_labels[labels] = AttemptSeries(self._store, labels)
        if stable:
            self._attempts[key] = series
        return series

    def _call_series(self, key: _CallKey) -> CallSeries:
        source, endpoint, model, profile, stream, outcome = key
        if not isinstance(stream, bool):
            raise UnfitError(MALFORMED)
        words = (Profile(profile).value, flag(stream), Outcome(outcome).value, Source(source).value)
        (endpoint, model), stable = self._admit(outcome, endpoint=endpoint, model=model)
        labels = CallLabels(endpoint, model, *words)
        series = self._calls_by_labels.get(labels)
        if series is None:
            series = self._calls_by_labels[labels] = CallSeries(self._store, labels)
        if stable:
            self._calls[key] = series
        return series

    def _admit(self, outcome: Outcome, **values: str) -> tuple[list[str], bool]:
        proven = outcome == Outcome.OK
        admitted = [self._guard.admit(label, value, proven=proven) for label, value in values.items()]
        return [each.value for each in admitted], all(each.stable for each in admitted)

    def _stop(self, record: CallRecord, series: CallSeries) -> Counter:
        reason = self._guard.admit("reason", record.stop_reason or "", proven=record.outcome == Outcome.OK)
        counter = self._store.counter(f.STOPS, series.labels.model, reason.value, series.labels.source)
        if reason.stable:
            series.stops[record.stop_reason or ""] = counter
        return counter

    def _retries(self, record: CallRecord, series: CallSeries) -> None:
        endpoint, model, profile, _, _, source = series.labels
        rises: list[Counter] = []
        waits: list[tuple[SparseHistogram, float]] = []
        for wait in record.waits:
            reason = Outcome(wait.reason).value
            seconds = wait.seconds + 0.0
            if not 0.0 <= seconds <= LIMIT:
                _refuse(seconds)
            if wait.completed:
                rises.append(self._store.counter(f.RETRIES, endpoint, model, reason, source))
            if wait.completed or seconds:
                waits.append((self._store.histogram(f.RETRY_WAIT, reason, source), seconds))
        if record.retry_result is not None:
            result = RetryResult(record.retry_result).value
            rises.append(self._store.counter(f.RETRIED_CALLS, endpoint, model, result, source))
        if record.waits and not record.waits[-1].completed and record.phase == Phase.DEADLINE:
            # No attempt saw this deadline, so no attempt's record tells of it.
            rises.append(self._store.counter(f.TIMEOUTS, endpoint, model, profile, Phase.DEADLINE.value, source))
        for counter in rises:
            counter.value += 1
        for histogram, seconds in waits:
            histogram.add(seconds)

    def _limits(self, record: AttemptRecord) -> None:
        source = Source(record.source).value
        at = record.started_at + record.duration
        sets: list[tuple[Gauge, float]] = []
        for limit in record.limits:
            kind = LimitKind(limit.kind).value
            for family, value in (
                (f.RATELIMIT_LIMIT, limit.limit),
                (f.RATELIMIT_REMAINING, limit.remaining),
                (f.RATELIMIT_RESET, limit.reset_at),
            ):
                if value is None:
                    continue
                if not 0.0 <= value <= LIMIT:
                    _refuse(value)
                sets.append((self._store.gauge(family, kind, source), float(value)))
        for gauge, value in sets:
            gauge.set(value, at if 0.0 <= at <= LIMIT else 0.0)


def _tokens(usage: Usage, seconds: float | None) -> tuple[int, int, int, int, float | None]:
    read, written, cached, stored = usage.input, usage.output, usage.cache_read, usage.cache_write
    if not (0 <= read <= LIMIT and 0 <= written <= LIMIT and 0 <= cached <= LIMIT and 0 <= stored <= LIMIT):
        _refuse(read, written, cached, stored)
    index(read + written + cached + stored)  # raises when one of them is no integer
    rate = None
    if seconds is not None:
        if not 0.0 <= seconds <= LIMIT:
            _refuse(seconds)
        if seconds and written:
            rate = written / seconds
            if not rate <= LIMIT:
                _refuse(rate)
    return read, written, cached, stored, rate


def _add_tokens(series: CallSeries, tokens: tuple[int, int, int, int, float | None]) -> None:
    read, written, cached, stored, rate = tokens
    for_read, for_written, for_cached, for_stored = series.tokens
    for_read.value += read
    for_written.value += written
    for_cached.value += cached
    for_stored.value += stored
    series.prompt.add(read + cached + stored)
    if rate is not None:
        series.rate.add(rate)


def _exemplar(trace: TraceRef, at: float) -> tuple[str, float] | None:
    # Nobody can look up a trace that was not sampled. A clock that says nonsense costs the exemplar, not the record.
    fit = trace.sampled and _TRACE_ID.fullmatch(trace.trace_id) and 0.0 <= at <= LIMIT
    return (trace.trace_id, at) if fit else None


def _refuse(*numbers: float) -> NoReturn:
    wrong = next(number for number in numbers if not 0 <= number <= LIMIT)
    if math.isnan(wrong) or math.isinf(wrong):
        raise UnfitError(REASONS[0])
    raise UnfitError(REASONS[1] if wrong < 0 else REASONS[2])
