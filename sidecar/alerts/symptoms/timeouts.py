"""Calls that wait too long: timeouts that happen, and waits that will end in them."""

from sidecar.alerts.message import (
    ABOUT_JOB,
    DURATION,
    PERCENT,
    all_or_one,
    load,
    main_phase,
    number,
    prompts,
    selecting,
    sentences,
    value_of,
)
from sidecar.alerts.symptoms.symptom import Symptom, by_outcome, ended, share_of_many
from sidecar.alerts.values import AlertValues
from sidecar.rules.promql import ENDPOINT, JOB, MODEL, by, count, nested, ratio

_DASHBOARD = "claude-timeouts-retries"
_TIMED_OUT = 'outcome="timeout"'


def _numbers(window: str) -> str:
    calls = number("claude_calls_total", window)
    return f"{number('claude_calls_total', window, _TIMED_OUT)} of {calls} calls timed out in {window}"


def spike(t: AlertValues) -> Symptom:
    """Demand count and ratio and multiple of what is usual: each alone is wrong for some service."""
    window = t["window"]
    counts = by_outcome("calls", window)
    timeouts, calls = ended(counts, _TIMED_OUT), ended(counts)
    history = f"[{t['baseline']}] offset {t['baseline_offset']}"
    usual = ratio(
        by(MODEL, f"sum_over_time(claude:timed_out_calls:sampled_5m{history})"),
        by(MODEL, f"sum_over_time(claude:calls:sampled_5m{history})"),
    )
    usual_now = (
        f"sum(sum_over_time(claude:timed_out_calls:sampled_5m{{%[1]s}}{history}))"
        f" / (sum(sum_over_time(claude:calls:sampled_5m{{%[1]s}}{history})) > 0)"
    )
    return Symptom(
        # No history means nothing is usual yet: `unless` then takes nothing away.
        expr=f"{share_of_many(t, timeouts, calls)}\n"
        f"unless\n{ratio(timeouts, calls)}\n<= {t['times_usual']} * {nested(usual)}",
        reads=(counts,),
        summary="{{ $value | humanizePercentage }} of the calls of {{ $labels.job }} to {{ $labels.model }} time out",
        description=sentences(
            selecting(MODEL),
            ABOUT_JOB,
            f"{_numbers(window)}; usual over {t['baseline']} is {value_of(usual_now, PERCENT)}.",
            main_phase(window),
            all_or_one(window, t["ratio"]),
            load(window),
            prompts(),
        ),
        dashboard=_DASHBOARD,
    )


def rate_high(t: AlertValues) -> Symptom:
    """Watch the same share over a long window: what a spike's window is too short to see."""
    window = t["window"]
    return Symptom(
        expr=share_of_many(
            t, count(MODEL, "claude_calls_total", window, _TIMED_OUT), count(MODEL, "claude_calls_total", window)
        ),
        summary="{{ $value | humanizePercentage }} of the calls of {{ $labels.job }} to {{ $labels.model }}"
        f" time out, over {window}",
        description=sentences(
            selecting(MODEL),
            ABOUT_JOB,
            f"{_numbers(window)}.",
            main_phase(window),
            all_or_one(window, t["ratio"]),
            load(window),
            prompts(),
        ),
        dashboard=_DASHBOARD,
    )


def calls_hanging(t: AlertValues) -> Symptom:
    """Tell a silent upstream by the calls under way: nothing has ended yet, so no counter moves."""
    # Not the recorded maximum: another group records it, and waiting for that costs up to one more interval.
    silent = by(ENDPOINT, "claude_in_flight_silent_seconds", "max")
    usual = "claude:in_flight_silent_seconds:p95_1d offset 10m"
    answered = by(ENDPOINT, f'rate(claude_calls_total{{outcome="ok"}}[{t["window"]}])')
    usually = by(ENDPOINT, 'rate(claude_calls_total{outcome="ok"}[1h])')
    return Symptom(
        expr=f"{silent} > {t['seconds']}\n"
        f"unless\n{silent} <= {t['times_usual']} * {usual}\n"
        f"unless\n({silent} <= {t['seconds_without_history']} unless {usual})\n"
        f"and\n{by(ENDPOINT, 'claude_in_flight')} >= {t['in_flight']}\n"
        f"unless\n{answered} > {t['answers']} * {usually}",
        summary="Calls of {{ $labels.job }} to {{ $labels.model }} hang:"
        " not a byte for {{ $value | humanizeDuration }}",
        description=sentences(
            selecting(ENDPOINT),
            f"{value_of('sum(claude_in_flight{%s})')} calls are under way ({{{{ $labels.endpoint }}}}), and the longest"
            " has waited {{ $value | humanizeDuration }} for its next byte; usual (p95 of a day) is"
            f" {value_of('max(claude:in_flight_silent_seconds:p95_1d{%s})', DURATION)}.",
            " Hardly any call succeeds meanwhile. Most likely the API, or something between you and it, has stopped"
            " answering; no timeout has ended yet, so the other alerts are still quiet.",
        ),
        dashboard="claude-overview",
    )


def connect_failures(t: AlertValues) -> Symptom:
    """Compare attempts that never reached the API with all attempts."""
    window = t["window"]
    attempts = by_outcome("attempts", window)
    # The two differ in a label, so `or` keeps every series of both.
    failed = by(
        JOB,
        f'{attempts.record}{{outcome="connection_error"}}'
        f' or increase(claude_timeouts_total{{phase=~"pool|connect|write"}}[{window}])',
    )
    broken = number("claude_attempts_total", window, 'outcome="connection_error"')
    connecting, sending, queueing = (
        number("claude_timeouts_total", window, f'phase="{phase}"') for phase in ("connect", "write", "pool")
    )
    return Symptom(
        expr=share_of_many(t, failed, ended(attempts, level=JOB)),
        reads=(attempts,),
        summary="{{ $value | humanizePercentage }} of the requests of {{ $labels.job }} do not reach the Claude API",
        description=sentences(
            selecting(JOB),
            f"In {window} {broken} connections broke or"
            f" were refused; {connecting} timed out while connecting, {sending} while sending,"
            f" {queueing} for want of a free connection in the own pool.",
            " All this is before the API answers: look at your own network, DNS, proxy, firewall and connection pool"
            " first, then at the API's status page.",
        ),
        dashboard=_DASHBOARD,
    )
