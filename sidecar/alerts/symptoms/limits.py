"""Too much for the API (529), too much for your account (429), and soon so."""

from sidecar.alerts.message import ABOUT_JOB, number, selecting, sentences, value_of
from sidecar.alerts.symptoms.symptom import Symptom, by_outcome, ended, share_of_many
from sidecar.alerts.values import AlertValues
from sidecar.rules import Recording, seconds
from sidecar.rules.promql import JOB, MODEL, by

_DASHBOARD = "claude-breakers-limits"
_LIMIT = (*JOB, "kind")


def _attempts(t: AlertValues) -> Recording:
    return by_outcome("attempts", t["window"])


def _answered(t: AlertValues, outcome: str) -> str:
    counts = _attempts(t)
    return share_of_many(t, ended(counts, f'outcome="{outcome}"'), ended(counts))


def _numbers(t: AlertValues, outcome: str) -> str:
    matcher, window = f'outcome="{outcome}"', t["window"]
    return (
        f"{number('claude_attempts_total', window, matcher)} requests in {window};"
        f" {number('claude_calls_total', window, matcher)} calls failed by it for good."
    )


def overloaded(t: AlertValues) -> Symptom:
    """Watch 529: the API has too much to do, for everybody."""
    return Symptom(
        expr=_answered(t, "overloaded"),
        summary="The Claude API is overloaded: {{ $value | humanizePercentage }} of the requests of {{ $labels.job }}"
        " to {{ $labels.model }} get 529",
        description=sentences(
            selecting(MODEL),
            _numbers(t, "overloaded"),
            " This is the API's load, not your limit: longer waits between attempts, another model, or doing less now"
            " are what helps.",
        ),
        dashboard=_DASHBOARD,
        reads=(_attempts(t),),
    )


def rate_limited(t: AlertValues) -> Symptom:
    """Watch 429: your account's limit, which somebody in your own organisation may be using up."""
    scarce = "bottomk(1, min by (kind) (claude_ratelimit_remaining{%[1]s} / (claude_ratelimit_limit{%[1]s} > 0)))"
    return Symptom(
        expr=_answered(t, "rate_limited"),
        summary="{{ $labels.job }} hits its rate limit: {{ $value | humanizePercentage }} of its requests"
        " to {{ $labels.model }} get 429",
        description=sentences(
            selecting(MODEL),
            ABOUT_JOB,
            _numbers(t, "rate_limited"),
            f"{{{{ range printf `{scarce}` $job | query }}}} Scarcest is the limit on {{{{ .Labels.kind }}}}, with"
            " {{ .Value | humanizePercentage }} left.{{ end }}",
            " The limit is your organisation's: another job may be using it up. The API itself is well.",
        ),
        dashboard=_DASHBOARD,
        reads=(_attempts(t),),
    )


def running_out(t: AlertValues) -> Symptom:
    """Tell before the first 429: what is left falls, and is low already."""
    left = by(_LIMIT, "claude_ratelimit_remaining / (claude_ratelimit_limit > 0)", "min")
    trend = f"predict_linear(claude_ratelimit_remaining[{t['window']}], {seconds(t['ahead']):g})"
    return Symptom(
        expr=f"{left} < {t['left']}\nand\n{by(_LIMIT, trend, 'min')} < 0",
        summary="{{ $labels.job }} will reach its limit on {{ $labels.kind }}:"
        " {{ $value | humanizePercentage }} is left",
        description=sentences(
            selecting(_LIMIT),
            f"{value_of('min(claude_ratelimit_remaining{%s})')} of {value_of('max(claude_ratelimit_limit{%s})')}"
            f" {{{{ $labels.kind }}}} are left, and at the pace of the last {t['window']} they are gone within"
            f" {t['ahead']}.",
            " Then requests get 429. Slow down what can wait, or ask for a higher limit.",
        ),
        dashboard=_DASHBOARD,
    )
