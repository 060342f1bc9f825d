"""Answers that come, but late. Thresholds differ by profile: a batch job may take minutes, a chat may not."""

from sidecar.alerts.message import DURATION, prompts, selecting, sentences, value_of
from sidecar.alerts.symptoms.symptom import Symptom
from sidecar.alerts.values import AlertValues
from sidecar.rules.promql import SERIES, nested

_DASHBOARD = "claude-latency"
_TO = "{{ $labels.job }} to {{ $labels.model }} ({{ $labels.endpoint }}, profile {{ $labels.profile }})"
_TRIES = value_of("claude:attempts_per_call:ratio_5m{%s}", "printf `%.2f`")


def _above_its_profile(t: AlertValues, recorded: str, events: str) -> str:
    branches = "\nor\n".join(
        f'{recorded}{{profile="{profile}"}} > {limit:g}' for profile, limit in t.by_profile("seconds").items()
    )
    return f"{nested(branches)}\nand\n{events} * 300 > {t['count']}"


def _quantile(what: str, stat: str) -> str:
    return value_of(f"claude:{what}_seconds:{stat}_5m{{%s}}", DURATION)


def p95_high(t: AlertValues) -> Symptom:
    """Judge the p95 of whole calls, where enough calls make it one."""
    return Symptom(
        expr=_above_its_profile(t, "claude:call_duration_seconds:p95_5m", "claude:calls:rate_5m"),
        summary=f"Calls of {_TO} are slow: p95 is {{{{ $value | humanizeDuration }}}}",
        description=sentences(
            selecting(SERIES),
            f"p50 is {_quantile('call_duration', 'p50')}, p95 {{{{ $value | humanizeDuration }}}},"
            f" p99 {_quantile('call_duration', 'p99')}; first token p95 {_quantile('first_token', 'p95')};"
            f" attempts per call {_TRIES}.",
            " Far more than one attempt per call means that retries take the time; a slow first token, that the API is"
            " slow to begin; neither, that answers are long.",
            prompts(),
        ),
        dashboard=_DASHBOARD,
    )


def first_token_slow(t: AlertValues) -> Symptom:
    """Judge the p95 of the wait a user of a stream feels."""
    return Symptom(
        expr=_above_its_profile(t, "claude:first_token_seconds:p95_5m", "claude:first_tokens:rate_5m"),
        summary=f"Streams of {_TO} begin late: p95 of the first token is {{{{ $value | humanizeDuration }}}}",
        description=sentences(
            selecting(SERIES),
            f"First token p50 is {_quantile('first_token', 'p50')}, p95 {{{{ $value | humanizeDuration }}}};"
            f" attempts per call {_TRIES}.",
            " Far more than one attempt per call means that retries come before the first token; otherwise the API is"
            " slow to begin, or has more to read.",
            prompts(),
        ),
        dashboard=_DASHBOARD,
    )
