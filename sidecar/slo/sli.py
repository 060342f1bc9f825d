"""What an objective counts: bad events and all events in a window, as PromQL."""

import re
from dataclasses import dataclass

from sidecar.model import Outcome
from sidecar.rules.histograms import Buckets
from sidecar.rules.promql import FAILURES, JOB, UNCOUNTED, by, count, nested, series
from sidecar.slo.buckets import classic_bound, le_matcher, native_bound
from sidecar.slo.selectors import in_window
from sidecar.slo.spec import Calls, Events, Kind, Ratio


@dataclass(frozen=True, slots=True)
class Counted:
    """Two expressions with the same labels."""

    error: str
    total: str


def counted(indicator: Calls | Events, window: str, buckets: Buckets, recorded: str) -> Counted:
    """Count the bad events and all events of a window; the error may read the total as it is ``recorded`` before it."""
    if isinstance(indicator, Events):
        part, total = in_window(indicator.error, window), in_window(indicator.total, window)
        # Counters often appear with their first event: a part without series means none of it happened.
        part = f"(\n  ({part})\n  or\n  ({total}) * 0\n)"
        return Counted(f"({total})\n-\n{part}" if indicator.good else part, f"({total})")
    return _calls(indicator, window, buckets, f"{by(JOB, recorded)} * 0")


def ratio(indicator: Ratio, window: str) -> str:
    """Spell a ratio that is given as such."""
    return in_window(indicator.query, window)


def _calls(calls: Calls, window: str, buckets: Buckets, none: str) -> Counted:
    uncounted, failures = UNCOUNTED, FAILURES
    if not calls.count_rate_limited:
        uncounted = f"{uncounted}|{Outcome.RATE_LIMITED}"
        failures = "|".join(outcome for outcome in failures.split("|") if outcome != Outcome.RATE_LIMITED)
    if calls.kind is Kind.TIMEOUT:
        failures = Outcome.TIMEOUT.value
    which = _matchers(calls)
    stream = ('stream="true"',) if calls.kind is Kind.FIRST_TOKEN else ()
    total = count(JOB, "claude_calls_total", window, ",".join((*which, *stream, f'outcome!~"{uncounted}"')))
    failed = count(JOB, "claude_calls_total", window, ",".join((*which, *stream, f'outcome=~"{failures}"')))
    error = f"({failed} or {none})"
    if calls.threshold is not None:
        # Slow successes and failures are added up, so that an outage, in which nothing is slow because nothing
        # succeeds, spends the budget too.
        ok = count(JOB, "claude_calls_total", window, ",".join((*which, *stream, f'outcome="{Outcome.OK}"')))
        slow = f"{ok}\n*\n(1 - {_within(calls.kind, calls.threshold, which, window, buckets)})"
        # Without a single observation there is no share but NaN, which `>= 0` drops.
        error = f"{error}\n+\n({nested(slow)} >= 0 or {none})"
    return Counted(error, total)


def _within(kind: Kind, threshold: float, which: tuple[str, ...], window: str, buckets: Buckets) -> str:
    """Spell the share within the threshold: of successful calls, or of streams that began.

    Only a share is taken from the histogram, never a number: its series misses its first observation, and native
    histograms are extrapolated otherwise than the counters that a number would be added to.
    """
    metric = "claude_call_duration_seconds" if kind is Kind.LATENCY else "claude_first_token_seconds"
    matchers = (*which, f'outcome="{Outcome.OK}"') if kind is Kind.LATENCY else which
    if buckets is Buckets.NATIVE:
        observed = by(JOB, f"increase({series(metric, ','.join(matchers), window)})")
        return f"histogram_fraction(0, {native_bound(threshold)!r}, {observed})"
    bound = classic_bound(threshold)
    if bound is None:
        raise ValueError(f"no classic bucket can tell {threshold:g} s; validate() says so")
    within = count(JOB, f"{metric}_bucket", window, ",".join((*matchers, le_matcher(bound))))
    return f"{within} / {count(JOB, f'{metric}_count', window, ','.join(matchers))}"


def _matchers(calls: Calls) -> tuple[str, ...]:
    return tuple(_matcher(label, values) for label, values in calls.selector.items())


def _matcher(label: str, values: tuple[str, ...]) -> str:
    if len(values) == 1:
        return f'{label}="{_quoted(values[0])}"'
    pattern = "|".join(re.escape(value) for value in values)
    return f'{label}=~"{_quoted(pattern)}"'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
