"""The recording rules: percentiles, ratios and rates under names that dashboards and alerts read.

Short windows are computed from the counters. Windows of an hour and more add up a copy of the 5-minute rates, taken
every five minutes, part and whole apart, so that they cost little and still weigh every call the same.
"""

from typing import Final

from sidecar.alerts.values import Values
from sidecar.rules import Group, Recording, seconds
from sidecar.rules.histograms import Buckets, Reading
from sidecar.rules.promql import (
    ENDPOINT,
    FAILURES,
    JOB,
    MODEL,
    SERIES,
    UNCOUNTED,
    UNMEASURED,
    USE,
    by,
    nested,
    rate,
    ratio,
    share,
)

SHORT: Final = ("5m", "30m")
COPIED: Final = "5m"
"""The short window that the long ones are added up from."""
LONG: Final = ("1h", "6h", "1d", "3d")
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_SUCCESSES: Final = ("ok_call_duration_seconds", (*USE, "stream"), "claude_call_duration_seconds")
_SUCCEEDED: Final = 'outcome="ok"'
_HISTORY: Final = 30
"""Samples there must be before a usual silence is called usual: an hour of them at the default pace."""


def recording_groups(buckets: Buckets, values: Values) -> tuple[Group, ...]:
    """Build the recording rules for one way of storing histograms; names and meaning are the same for both."""
    reading = Reading(buckets)
    return (
        Group(
            name="claude-rates",
            interval=values.fast,
            rules=(
                *(rule for window in SHORT for rule in _rates(window)),
                *_now(),
            ),
        ),
        Group(name="claude-percentiles", interval=values.fast, rules=_percentiles(reading)),
        Group(name="claude-samples", interval=values.samples, rules=_samples(reading)),
        Group(
            name="claude-history",
            interval=values.slow,
            rules=(*_history(values), *_usual(seconds(values.samples)), *_needs(reading, values.samples)),
        ),
    )


def _rates(window: str) -> tuple[Recording, ...]:
    """Rates and ratios of one short window; the later rules read the earlier ones, which have far fewer series."""
    outcomes = f"claude:calls_by_outcome:rate_{window}"
    calls = f"claude:calls:rate_{window}"
    phases = f"claude:timeouts_by_phase:rate_{window}"
    retried = f"claude:retried_calls:rate_{window}"
    recovered, ended = _retry_parts(retried)
    parts = _parts(window)
    # Those of five minutes are read by dashboards and copied for the long windows; others stand in their ratio alone.
    recorded = parts if window == COPIED else {}
    spelled = {
        what: f"claude:{what}:rate_{window}" if what in recorded else nested(expr) if "\n" in expr else expr
        for what, expr in parts.items()
    }
    return (
        Recording(record=outcomes, expr=rate((*SERIES, "outcome"), "claude_calls_total", window)),
        Recording(record=calls, expr=f"sum without (outcome) ({outcomes})"),
        *(Recording(record=spelled[what], expr=expr) for what, expr in recorded.items()),
        Recording(record=f"claude:timeouts:ratio_{window}", expr=ratio(spelled["timed_out_calls"], calls)),
        Recording(
            record=f"claude:errors:ratio_{window}", expr=ratio(spelled["failed_calls"], spelled["counted_calls"])
        ),
        Recording(record=phases, expr=rate((*SERIES, "phase"), "claude_timeouts_total", window)),
        Recording(
            record=f"claude:timeouts_by_phase:share_{window}",
            expr=f"{phases}\n/ ignoring (phase) group_left ()\n(sum without (phase) ({phases}) > 0)",
        ),
        Recording(
            record=f"claude:attempts_per_call:ratio_{window}", expr=ratio(spelled["attempts"], spelled["sent_calls"])
        ),
        Recording(record=retried, expr=rate((*ENDPOINT, "result"), "claude_retried_calls_total", window)),
        Recording(record=f"claude:retry_success:ratio_{window}", expr=share(recovered, ended)),
    )


def _parts(window: str) -> dict[str, str]:
    """Spell what the ratios are made of."""
    outcomes = f"claude:calls_by_outcome:rate_{window}"

    def only(outcome: str, comparison: str = "=~") -> str:
        return f'sum without (outcome) ({outcomes}{{outcome{comparison}"{outcome}"}})'

    none = f"claude:calls:rate_{window} * 0"
    return {
        "timed_out_calls": f"{only('timeout', '=')}\nor\n{none}",
        "failed_calls": f"{only(FAILURES)}\nor\n{none}",
        "counted_calls": only(UNCOUNTED, "!~"),
        # What attempts are set against: a rejected call sent nothing, and would hide how often the others tried.
        "sent_calls": only("rejected", "!="),
        "attempts": rate(SERIES, "claude_attempts_total", window),
    }


def _now() -> tuple[Recording, ...]:
    """Record what only the shortest window is asked for."""
    counted = {
        "breaker_rejections": ((*JOB, "breaker"), "claude_breaker_rejections_total"),
        "stops": ((*MODEL, "reason"), "claude_stops_total"),
        "tokens": ((*MODEL, "kind"), "claude_tokens_total"),
    }
    return (
        *(
            Recording(record=f"claude:{what}:rate_5m", expr=rate(level, metric, "5m"))
            for what, (level, metric) in counted.items()
        ),
        Recording(
            record="claude:in_flight_silent_seconds:max",
            expr=by(ENDPOINT, "claude_in_flight_silent_seconds", "max"),
        ),
    )


def _retry_parts(retried: str) -> tuple[str, str]:
    """Spell the calls that recovered and those that came to an end; abandoned ones are on neither side."""
    return (
        f'sum without (result) ({retried}{{result="recovered"}})',
        f'sum without (result) ({retried}{{result=~"recovered|exhausted"}})',
    )


def _percentiles(reading: Reading) -> tuple[Recording, ...]:
    measured = f'outcome!~"{UNMEASURED}"'
    histograms = {
        "call_duration_seconds": ("claude_call_duration_seconds", measured),
        "attempt_duration_seconds": ("claude_attempt_duration_seconds", measured),
        "first_token_seconds": ("claude_first_token_seconds", ""),
    }
    return (
        *reading.restarts("5m"),
        *(
            rule
            for name, (metric, matchers) in histograms.items()
            for rule in reading.quantiles(name, QUANTILES, SERIES, metric, window="5m", matchers=matchers)
        ),
        *reading.observations("first_tokens", SERIES, "claude_first_token_seconds", window="5m"),
    )


def _samples(reading: Reading) -> tuple[Recording, ...]:
    """Copy what long windows add up: a twentieth of the samples, and far fewer series than the counters.

    One copy covers five minutes and is taken every five, so no call is missed and none counts twice.
    """
    copied = (
        *("calls", "timed_out_calls", "failed_calls", "counted_calls", "sent_calls", "attempts", "retried_calls"),
        *("stops", "tokens"),
    )
    return (
        *(Recording(record=f"claude:{what}:sampled_5m", expr=f"claude:{what}:rate_5m") for what in copied),
        Recording(record="claude:prompt_tokens:sampled_5m", expr=reading.total(MODEL, "claude_prompt_tokens", "5m")),
        Recording(record="claude:prompts:sampled_5m", expr=reading.count(MODEL, "claude_prompt_tokens", "5m")),
        Recording(
            record="claude:timeouts_by_phase:sampled_5m",
            expr=by((*USE, "phase"), "claude:timeouts_by_phase:rate_5m"),
        ),
        *reading.samples(*_SUCCESSES, matchers=_SUCCEEDED),
    )


def _added(what: str, window: str) -> str:
    return f"sum_over_time(claude:{what}:sampled_5m[{window}])"


def _per_second(what: str, window: str, pace: float) -> str:
    return f"{_added(what, window)} * ({pace:g} / {seconds(window):g})"


def _history(values: Values) -> tuple[Recording, ...]:
    pace = seconds(values.samples)
    rules: list[Recording] = []
    for window in LONG:
        retried = f"claude:retried_calls:rate_{window}"
        recovered, ended = _retry_parts(retried)
        rules += (
            Recording(record=f"claude:calls:rate_{window}", expr=_per_second("calls", window, pace)),
            Recording(
                record=f"claude:timeouts:ratio_{window}",
                expr=ratio(_per_second("timed_out_calls", window, pace), f"claude:calls:rate_{window}"),
            ),
            Recording(
                record=f"claude:errors:ratio_{window}",
                expr=ratio(_added("failed_calls", window), _added("counted_calls", window)),
            ),
            Recording(
                record=f"claude:attempts_per_call:ratio_{window}",
                expr=ratio(_added("attempts", window), _added("sent_calls", window)),
            ),
            Recording(record=retried, expr=_per_second("retried_calls", window, pace)),
            Recording(record=f"claude:retry_success:ratio_{window}", expr=share(recovered, ended)),
        )
    return tuple(rules)


def _usual(pace: float) -> tuple[Recording, ...]:
    """Record what is usual, for the alerts that compare with it."""
    silent = "claude:in_flight_silent_seconds:sampled"
    prompts = f"claude:prompts:count_7d / {pace:g}"
    return (
        # Idle moments are left out: they would make every silence of a quiet service look long.
        Recording(record=silent, expr="claude:in_flight_silent_seconds:max > 0"),
        Recording(
            record="claude:in_flight_silent_seconds:p95_1d",
            expr=f"quantile_over_time(0.95, {silent}[1d])\nand\ncount_over_time({silent}[1d]) >= {_HISTORY}",
        ),
        *(
            Recording(record=f"claude:{what}:rate_1d", expr=_per_second(what, "1d", pace))
            for what in ("stops", "timeouts_by_phase", "tokens")
        ),
        Recording(record="claude:timeouts_by_phase:rate_1h", expr=_per_second("timeouts_by_phase", "1h", pace)),
        Recording(
            record="claude:prompt_tokens:mean_1h", expr=ratio(_added("prompt_tokens", "1h"), _added("prompts", "1h"))
        ),
        Recording(record="claude:prompts:count_7d", expr=f"{_added('prompts', '7d')} * {pace:g}"),
        Recording(record="claude:prompt_tokens:mean_7d", expr=ratio(_added("prompt_tokens", "7d"), f"({prompts})")),
        # By job alone, for the alert that compares with the same hour of last week.
        Recording(record="claude:job_calls:rate_1h", expr=by(JOB, "claude:calls:rate_1h")),
        Recording(record="claude:job_calls:rate_1d", expr=by(JOB, "claude:calls:rate_1d")),
    )


def _needs(reading: Reading, pace: str) -> tuple[Recording, ...]:
    """Record how long successes take, for the alerts that judge timeouts by it."""
    what, level, metric = _SUCCESSES
    stats = {stat: QUANTILES[stat] for stat in ("p95", "p99")}
    return reading.quantiles_of_samples(what, stats, level, metric, window="1h", pace=pace, matchers=_SUCCEEDED)
