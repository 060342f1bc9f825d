"""The sidecar itself: told when what it tells can no longer be believed, or when nothing is told at all."""

from sidecar.alerts.message import WHOLE, selecting, sentences, value_of
from sidecar.alerts.symptoms.symptom import Pace, Symptom
from sidecar.alerts.values import AlertValues
from sidecar.rules.promql import JOB, PROCESS, count, more_than

_DASHBOARD = "claude-sidecar-health"


def telemetry_dropping(t: AlertValues) -> Symptom:
    """Count records that never became metrics: every ratio is off by what is missing."""
    return Symptom(
        expr=more_than(count((*PROCESS, "reason"), "sidecar_dropped_records_total", t["window"]), t["count"]),
        summary='{{ $labels.job }} drops telemetry: {{ $value | printf "%.0f" }} records'
        f" in {t['window']} ({{{{ $labels.reason }}}})",
        description=sentences(
            "Calls are not affected, but counts and ratios are too low by what is dropped.",
            " Records that got lost point to a collector that is down or too busy; records that made no sense, to a"
            " bug worth reporting.",
        ),
        dashboard=_DASHBOARD,
    )


def label_overflow(t: AlertValues) -> Symptom:
    """Count values that became ``other``: bounded on purpose, but then models can no longer be told apart."""
    return Symptom(
        expr=more_than(count((*PROCESS, "label"), "sidecar_label_overflows_total", t["window"]), t["count"]),
        summary="{{ $labels.job }} has more values of the label {{ $labels.label }} than it keeps",
        description=sentences(
            f'{{{{ $value | printf "%.0f" }}}} times in {t["window"]} a value was counted as other.',
            " Most likely somebody sends invented model names, or names with ids in them; otherwise raise the limit.",
        ),
        dashboard=_DASHBOARD,
        pace=Pace.SLOW,
    )


def sidecar_down(t: AlertValues) -> Symptom:
    """Know our targets by what they showed before they went silent."""
    target = (*PROCESS, "instance")
    return Symptom(
        expr=f"up == 0\nand on ({', '.join(target)})\ncount_over_time(sidecar_build_info[{t['seen']}])",
        summary="claude-sidecar at {{ $labels.instance }} ({{ $labels.job }}) cannot be scraped",
        description=sentences(
            f"It was seen within the last {t['seen']} and does not answer now.",
            " Until it is back, nothing else is told about the calls it sees, and where it is a proxy, those calls"
            " fail.",
            " Most likely the process died or hangs, or the network or its port changed.",
        ),
        dashboard=_DASHBOARD,
    )


def no_traffic(t: AlertValues) -> Symptom:
    """Compare with this hour of last week; and demand some since yesterday, or it is gone for long and known."""
    now = f"{count(JOB, 'claude_calls_total', t['window'])} > 0"
    yesterday = value_of("sum(claude:job_calls:rate_1d{%s}) * 86400", WHOLE)
    return Symptom(
        expr=f"claude:job_calls:rate_1h offset 1w * 3600 > {t['count']}\nand\nclaude:job_calls:rate_1d > 0\n"
        f"unless\n{now}",
        summary="{{ $labels.job }} makes no calls to Claude any more",
        description=sentences(
            selecting(JOB),
            f'Not one in {t["window"]}; at this hour last week there were {{{{ $value | printf "%.0f" }}}} in an hour,'
            f" and over the last day {yesterday}.",
            " Most likely the job is down, gets no work, or a deploy took the instrumentation out. An unusual day, such"
            " as a holiday, looks the same.",
        ),
        dashboard="claude-overview",
        pace=Pace.SLOW,
    )
