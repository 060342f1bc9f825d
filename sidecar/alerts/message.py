"""What an alert says: the sentences, the most likely cause, and the links.

Causes are told apart when the alert is evaluated, by queries inside Prometheus' templates, so that the message already
holds what the first five minutes of searching would find.
"""

from typing import Final

from sidecar.alerts.values import Values
from sidecar.rules.promql import JOB

PHASES: Final = {
    "pool": "no connection of the own pool was free: too many calls at once, or stalled streams that hold theirs",
    "connect": "no connection came about: look at your own network, DNS, proxy or firewall before the API",
    "write": "the request could not be sent in time: a slow way out, or very large prompts",
    "first_byte": "requests were sent and nothing came back: the API is slow, or the answers take longer than before",
    "stall": "answers began and then fell silent: the API, or something in between that holds back or cuts streams",
    "deadline": "the calls' own total ran out: the deadline is too tight, or retries and waits used it up",
    "gateway": "something between you and the API gave up (408, 504 or 524)",
    "client": "the callers hung up when their own announced timeout was due",
}
"""What each phase of a timeout points to."""

_BREAK: Final = '\n{{- "" }}'
"""A new line in the rule file that leaves none in the message."""

WHOLE: Final = "printf `%.0f`"
ONE_DIGIT: Final = "printf `%.1f`"
PERCENT: Final = "humanizePercentage"
DURATION: Final = "humanizeDuration"


def sentences(*parts: str) -> str:
    """Join the parts of a message, each on a line of its own in the rule file; a part brings its leading space."""
    return _BREAK.join(part for part in parts if part)


def selecting(level: tuple[str, ...], name: str = "of") -> str:
    """Set a template variable to the matchers that select what the alert is about."""
    matchers = ",".join(f"{label}=%q" for label in level)
    return f"{{{{ ${name} := printf `{matchers}` {' '.join(f'$labels.{label}' for label in level)} }}}}"


ABOUT_JOB: Final = selecting(JOB, "job")


def value_of(query: str, form: str = "humanize", of: str = "of") -> str:
    """Put the value of a query into a sentence; ``%s`` in it stands for the matchers, and 0 for no result."""
    return (
        f"{{{{ with printf `{query}` ${of} | query }}}}{{{{ . | first | value | {form} }}}}{{{{ else }}}}0{{{{ end }}}}"
    )


def number(metric: str, window: str, matchers: str = "", of: str = "of") -> str:
    """Put the number of events in a window into a sentence."""
    also = f",{matchers}" if matchers else ""
    return value_of(f"sum(increase({metric}{{%s{also}}}[{window}]))", WHOLE, of)


def when(query: str, then: str, otherwise: str = "", of: str = "of") -> str:
    """Say something when a query has a result, else something else."""
    middle = f"{{{{ else }}}}{otherwise}" if otherwise else ""
    return f"{{{{ if printf `{query}` ${of} | query }}}}{then}{middle}{{{{ end }}}}"


def choice(label: str, meanings: dict[str, str]) -> str:
    """Say what the value of a label of the current result means."""
    branches = "\n{{- else if ".join(
        f'eq .Labels.{label} "{value}" }}}}{_BREAK}{meaning}' for value, meaning in meanings.items()
    )
    return f"{{{{ if {branches}\n{{{{- end }}}}"


def main_phase(window: str) -> str:
    """Tell which phase most timeouts were in, how many of them, and what that points to."""
    timeouts = f"increase(claude_timeouts_total{{%[1]s}}[{window}])"
    worst = f"topk(1, sum by (phase) ({timeouts}) / scalar(sum({timeouts})) > 0)"
    return (
        f"{{{{ range printf `{worst}` $of | query }}}} {{{{ .Value | humanizePercentage }}}} of the timeouts were in"
        f" the phase {{{{ .Labels.phase }}}}: {choice('phase', PHASES)}.{{{{ end }}}}"
    )


def all_or_one(window: str, ratio: str) -> str:
    """Tell whether all models of the job time out, or only this one."""
    timeouts = f'sum by (model) (increase(claude_calls_total{{%[1]s,outcome="timeout"}}[{window}]))'
    calls = f"(sum by (model) (increase(claude_calls_total{{%[1]s}}[{window}])) > 0)"
    affected = value_of(f"count({timeouts} / {calls} > {ratio})", of="job")
    return f" Affected: {affected} of the {value_of(f'count({calls})', of='job')} models this job calls."


def load(window: str) -> str:
    """Tell whether 429 and 529 come along, which point to load rather than to a fault."""
    limited = 'outcome=~"rate_limited|overloaded"'
    return when(
        f"sum(increase(claude_attempts_total{{%s,{limited}}}[{window}])) > 0",
        f" Meanwhile {number('claude_attempts_total', window, limited)} attempts were answered 429 or 529:"
        " load, yours or the API's, is part of it.",
        " No 429 or 529 came along: limits are not part of it.",
    )


def prompts() -> str:
    """Tell whether prompts are longer than usual."""
    grown = "max(claude:prompt_tokens:mean_1h{%[1]s} / claude:prompt_tokens:mean_7d{%[1]s})"
    return when(
        f"{grown} > 1.25",
        f" Prompts are {value_of(grown, ONE_DIGIT)} times as long as the mean of the last seven days,"
        " which alone makes answers slower.",
        " Prompts are not longer than usual.",
    )


def annotations(values: Values, name: str, summary: str, description: str, dashboard: str) -> dict[str, str]:
    """Build an alert's annotations: links are added here, so that none is forgotten."""
    return {
        "summary": summary,
        "description": description,
        "runbook_url": f"{values.runbooks}/{name}.md",
        "dashboard_url": f"{values.dashboards}/d/{dashboard}?var-job={{{{ $labels.job | urlquery }}}}",
    }
