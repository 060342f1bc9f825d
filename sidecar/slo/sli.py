"""What an objective counts: bad events and all events in a window, as PromQL."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.model import Outcome
from sidecar.rules import Recording
from sidecar.rules.histograms import Buckets
from sidecar.rules.promql import FAILURES, JOB, UNCOUNTED, by, count, nested, series
from sidecar.slo.buckets import classic_bound, le_matcher, native_bound
from sidecar.slo.selectors import in_window
from sidecar.slo.spec import Calls, Events, Kind, Ratio

_CALLED: Final = "slo:sli_calls:events"
_OBSERVED: Final = "slo:sli_observed:counted"
_WITHIN: Final = "slo:sli_within:counted"
_STREAMS: Final[Mapping[Kind, Mapping[str, tuple[str, ...]]]] = {Kind.FIRST_TOKEN: {"stream": ("true",)}}
"""What a kind selects, whatever its objective does."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Two expressions with the same labels."""

    error: str
    total: str


def shared(indicators: Iterable[Calls], window: str, owner: str) -> Recording:
    """Count the calls of a window by all that objectives tell them apart by, for `counted` to take parts of.

    Each objective asks for several parts of the same calls, and what costs is to read the counters: so they are read
    once for all. Objectives of other files have theirs; ``owner`` is the id of one of these.
    """
    asked = {label for calls in indicators for label in (*calls.selector, *_STREAMS.get(calls.kind, {}))}
    level = (*JOB, *sorted(asked.difference(JOB)), "outcome")
    return Recording(
        record=f"{_CALLED}{window}", expr=count(level, "claude_calls_total", window), labels={"sloth_id": owner}
    )


def counters(indicator: Calls | Events, buckets: Buckets) -> dict[str, str]:
    """Spell the counters that `counted` reads in place of native histograms, by the names they are recorded under.

    To read whole histograms over a window is dear, and once for each window dearer. What is within the threshold, and
    what is observed at all, are two numbers that only rise, as long as the process lives.
    """
    if buckets is Buckets.CLASSIC or not isinstance(indicator, Calls) or indicator.threshold is None:
        return {}
    metric, which = _timed(indicator)
    observed = series(metric, which)
    share = f"histogram_fraction(0, {native_bound(indicator.threshold)!r}, {observed})"
    return {
        _OBSERVED: f"histogram_count({observed})",
        # A whole number, as at a bound, whatever the division left of it: else it might seem to fall, as at a restart.
        _WITHIN: f"round({share} * histogram_count({observed})) >= 0",
    }


def counted(indicator: Calls | Events, window: str, buckets: Buckets, mine: str, owner: str) -> Counted:
    """Count the bad events and all events of a window.

    ``mine`` selects what this objective records before them; ``owner`` is the one under whose id `shared` counts.
    """
    if isinstance(indicator, Events):
        part, total = in_window(indicator.error, window), in_window(indicator.total, window)
        # Counters often appear with their first event: a part without series means none of it happened.
        part = f"(\n  ({part})\n  or\n  ({total}) * 0\n)"
        return Counted(f"({total})\n-\n{part}" if indicator.good else part, f"({total})")
    return _calls(indicator, window, buckets, mine, owner)


def ratio(indicator: Ratio, window: str) -> str:
    """Spell a ratio that is given as such."""
    return in_window(indicator.query, window)


def _calls(calls: Calls, window: str, buckets: Buckets, mine: str, owner: str) -> Counted:
    uncounted, failures = UNCOUNTED, FAILURES
    none = f"{by(JOB, f'slo:sli_total:events{window}{mine}')} * 0"
    if not calls.count_rate_limited:
        uncounted = f"{uncounted}|{Outcome.RATE_LIMITED}"
        failures = "|".join(outcome for outcome in failures.split("|") if outcome != Outcome.RATE_LIMITED)
    if calls.kind is Kind.TIMEOUT:
        failures = Outcome.TIMEOUT.value
    which = (*_matchers(calls.selector), *_matchers(_STREAMS.get(calls.kind, {})))

    def ended(outcome: str) -> str:
        matchers = (f'sloth_id="{owner}"', *which, f"outcome{outcome}")
        return by(JOB, series(f"{_CALLED}{window}", ",".join(matchers)))

    total, failed = ended(f'!~"{uncounted}"'), ended(f'=~"{failures}"')
    error = f"({failed} or {none})"
    if calls.threshold is not None:
        # Slow successes and failures are added up, so that an outage, in which nothing is slow because nothing
        # succeeds, spends the budget too.
        ok = ended(f'="{Outcome.OK}"')
        slow = f"{ok}\n*\n(1 - {_within(calls, calls.threshold, window, buckets, mine)})"
        # Without a single observation there is no share but NaN, which `>= 0` drops.
        error = f"{error}\n+\n({nested(slow)} >= 0 or {none})"
    return Counted(error, total)


def _within(calls: Calls, threshold: float, window: str, buckets: Buckets, mine: str) -> str:
    """Spell the share within the threshold: of successful calls, or of streams that began.

    Only a share is taken from the histogram, never a number: its series misses its first observation.
    """
    if buckets is Buckets.NATIVE:
        return f"{count(JOB, f'{_WITHIN}{mine}', window)} / {count(JOB, f'{_OBSERVED}{mine}', window)}"
    bound = classic_bound(threshold)
    if bound is None:
        raise ValueError(f"no classic bucket can tell {threshold:g} s; validate() says so")
    metric, which = _timed(calls)
    within = count(JOB, f"{metric}_bucket", window, ",".join(part for part in (which, le_matcher(bound)) if part))
    return f"{within} / {count(JOB, f'{metric}_count', window, which)}"


def _timed(calls: Calls) -> tuple[str, str]:
    """Name the histogram a threshold is about, and select what of it counts."""
    which = _matchers(calls.selector)
    if calls.kind is Kind.LATENCY:
        return "claude_call_duration_seconds", ",".join((*which, f'outcome="{Outcome.OK}"'))
    return "claude_first_token_seconds", ",".join(which)


def _matchers(selector: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(_matcher(label, values) for label, values in selector.items())


def _matcher(label: str, values: tuple[str, ...]) -> str:
    if len(values) == 1:
        return f'{label}="{_quoted(values[0])}"'
    pattern = "|".join(re.escape(value) for value in values)
    return f'{label}=~"{_quoted(pattern)}"'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
