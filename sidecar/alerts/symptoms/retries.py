"""Retries that do not help or make things worse, and breakers that stop them."""

from sidecar.alerts.message import (
    ABOUT_JOB,
    PERCENT,
    WHOLE,
    load,
    main_phase,
    number,
    selecting,
    sentences,
    value_of,
    when,
)
from sidecar.alerts.symptoms.symptom import Symptom, by_outcome, ended
from sidecar.alerts.values import AlertValues
from sidecar.rules.promql import JOB, MODEL, by, count, more_than, ratio

_BREAKER = (*JOB, "breaker")
_STATES = "claude_breaker_state"
_PROCESSES = by(_BREAKER, _STATES)  # one-hot: the sum over the states is the number of processes
_ENDED = 'result=~"recovered|exhausted"'
_EXHAUSTED = 'result="exhausted"'


def retries_failing(t: AlertValues) -> Symptom:
    """Watch retried calls that came to an end, and mostly a bad one."""
    window = t["window"]
    recovered = count(MODEL, "claude_retried_calls_total", window, 'result="recovered"')
    ended = count(MODEL, "claude_retried_calls_total", window, _ENDED)
    reasons = f"topk(1, sum by (reason) (increase(claude_retries_total{{%s}}[{window}])) > 0)"
    return Symptom(
        expr=f"({recovered} or {ended} * 0)\n/\n({more_than(ended, t['count'])})\n< {t['ratio']}",
        summary="Retries save only {{ $value | humanizePercentage }} of the calls of {{ $labels.job }}"
        " to {{ $labels.model }}",
        description=sentences(
            selecting(MODEL),
            ABOUT_JOB,
            f"Of {number('claude_retried_calls_total', window, _ENDED)} retried calls in {window},"
            f" {number('claude_retried_calls_total', window, _EXHAUSTED)}"
            " failed for good.",
            f"{{{{ range printf `{reasons}` $of | query }}}}"
            " Most retries followed {{ .Labels.reason }}.{{ end }}",
            " Each such call waits for all its attempts and then fails: while this lasts, fewer retries or a breaker"
            " spare your users the wait.",
            load(window),
        ),
        dashboard="claude-timeouts-retries",
    )


def retry_storm(t: AlertValues) -> Symptom:
    """Count attempts per call that was sent; rejected calls would hide how often the others tried."""
    window = t["window"]
    attempts, calls = by_outcome("attempts", window), by_outcome("calls", window)
    sent = ended(calls, 'outcome!="rejected"')
    return Symptom(
        expr=f"{ended(attempts)}\n/\n({more_than(sent, t['count'])})\n> {t['attempts_per_call']}",
        reads=(attempts, calls),
        summary='{{ $labels.job }} sends {{ $value | printf "%.1f" }} requests per call to {{ $labels.model }}',
        description=sentences(
            selecting(MODEL),
            f"In {window} {number('claude_attempts_total', window)} requests were sent for"
            f" {number('claude_calls_total', window)} calls.",
            " Retries multiply the load on a service that already struggles, and use up your own limits.",
            main_phase(window),
            load(window),
            " Retries in several layers (SDK, gateway, your own loop) multiply each other.",
        ),
        dashboard="claude-timeouts-retries",
    )


def breaker_open(t: AlertValues) -> Symptom:
    """Take half open for open: a breaker that probes and opens again would else begin anew each time."""
    tripped = by(_BREAKER, f'{_STATES}{{state=~"open|half_open|forced_open"}}')
    return Symptom(
        expr=f"{ratio(tripped, _PROCESSES)} > {t['share']}",
        summary="The breaker {{ $labels.breaker }} of {{ $labels.job }} is open",
        description=sentences(
            selecting(_BREAKER),
            "It is not closed in {{ $value | humanizePercentage }} of"
            f" {value_of('sum(claude_breaker_state{%s})', WHOLE)} processes; the failure ratio is"
            f" {value_of('max(claude_breaker_failure_ratio{%s})', PERCENT)}, and"
            f" {number('claude_breaker_rejections_total', '5m')} calls were refused in 5m without being sent.",
            when(
                'sum(claude_breaker_state{%s,state="forced_open"}) > 0',
                " Somebody forced it open: ask them before anything else.",
                " It opened because most attempts failed; it closes by itself once its probes succeed, so look for what"
                " fails.",
            ),
        ),
        dashboard="claude-breakers-limits",
    )


def breaker_flapping(t: AlertValues) -> Symptom:
    """Count openings per process: forty processes that open once each are an incident, not flapping."""
    openings = count(_BREAKER, "claude_breaker_transitions_total", t["window"], 'to="open"')
    return Symptom(
        expr=f"{ratio(f'round({openings})', _PROCESSES)} > {t['openings']}",
        summary="The breaker {{ $labels.breaker }} of {{ $labels.job }} keeps opening and closing",
        description=sentences(
            f'It opened {{{{ $value | printf "%.1f" }}}} times per process in {t["window"]}.',
            " Most likely the upstream fails for part of the calls only, so that the probes succeed and the traffic"
            " after them does not; or the breaker's threshold lies at the usual failure ratio, or its window holds too"
            " few calls.",
        ),
        dashboard="claude-breakers-limits",
    )
