"""Objectives become rules: error ratios per window, the budget's state, and multi-window, multi-burn-rate alerts.

Names and labels are Sloth's, so that dashboards made for it work. Windows up to an hour are counted directly; longer
ones add up a copy taken every five minutes, errors and total apart, which costs little and never averages ratios.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sidecar._version import __version__
from sidecar.rules import Alert, Group, Recording, Rule, seconds
from sidecar.rules.histograms import Buckets
from sidecar.rules.promql import JOB, nested
from sidecar.rules.promql import ratio as divided
from sidecar.slo.burn import PAGE, TICKET, Pair, budget, possible
from sidecar.slo.sli import counted, counters, ratio, shared
from sidecar.slo.spec import Calls, Ratio, Slo

SHORT: Final = ("5m", "30m", "1h")
LONG: Final = ("2h", "6h", "1d", "3d")
_ASKED: Final = frozenset(pair.long for pair in (*PAGE, *TICKET))
"""The windows of which alerts ask for numbers of events, not for their ratio alone."""
_SAMPLE: Final = 300.0
"""What one sampled copy counts, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where alerts point to, how they are labelled, and how often rules are evaluated."""

    runbooks: str = "runbooks"
    dashboards: str = "http://localhost:3000"
    severities: Mapping[str, str] = field(default_factory=lambda: {"page": "page", "ticket": "ticket"})
    labels: Mapping[str, str] = field(default_factory=dict)
    fast: str = "15s"
    slow: str = "2m"
    samples: str = "5m"


def generate(slos: list[Slo], buckets: Buckets, links: Links | None = None) -> tuple[Group, ...]:
    """Build the rules of objectives that `validate` found no error in."""
    using = links or Links()
    return (*_calls(slos, buckets, using), *(group for slo in slos for group in _groups(slo, buckets, using)))


def _calls(slos: list[Slo], buckets: Buckets, links: Links) -> Iterator[Group]:
    """Count calls for all objectives about them, in one group, so that what one rule shares is as new as the others."""
    ours = [(slo, slo.indicator) for slo in slos if isinstance(slo.indicator, Calls)]
    if ours:
        owner, _ = ours[0]
        yield Group(
            name="sloth-slo-sli-recordings-calls",
            interval=links.fast,
            rules=(
                *(shared((indicator for _, indicator in ours), window, owner.id) for window in SHORT),
                *(rule for slo, _ in ours for rule in _short_windows(slo, buckets, owner)),
            ),
        )


def _groups(slo: Slo, buckets: Buckets, links: Links) -> Iterator[Group]:
    if not isinstance(slo.indicator, Calls):
        rules = tuple(_short_windows(slo, buckets, slo))
        yield Group(name=f"sloth-slo-sli-recordings-{slo.id}", interval=links.fast, rules=rules)
    samples = tuple(_samples(slo))
    if samples:
        yield Group(name=f"sloth-slo-sli-samples-{slo.id}", interval=links.samples, rules=samples)
    yield Group(
        name=f"sloth-slo-sli-history-{slo.id}",
        interval=links.slow,
        rules=tuple(_long_windows(slo, seconds(links.samples))),
    )
    yield Group(name=f"sloth-slo-meta-recordings-{slo.id}", interval=links.fast, rules=tuple(_meta(slo)))
    alerts = tuple(_alerts(slo, links))
    if alerts:
        yield Group(name=f"sloth-slo-alerts-{slo.id}", interval=links.fast, rules=alerts)


def _labels(slo: Slo, window: str | None = None) -> dict[str, str]:
    return {
        **slo.labels,
        "sloth_id": slo.id,
        "sloth_service": slo.service,
        "sloth_slo": slo.name,
        **({"sloth_window": window} if window else {}),
    }


def _mine(slo: Slo) -> str:
    return f'{{sloth_id="{slo.id}", sloth_service="{slo.service}", sloth_slo="{slo.name}"}}'


def _ratio_of(slo: Slo, window: str) -> Recording:
    error, total = (f"slo:sli_{part}:events{window}{_mine(slo)}" for part in ("error", "total"))
    return Recording(
        record=f"slo:sli_error:ratio_rate{window}", expr=divided(error, total), labels=_labels(slo, window)
    )


def _short_windows(slo: Slo, buckets: Buckets, owner: Slo) -> Iterator[Rule]:
    if isinstance(slo.indicator, Ratio):
        for window in (*SHORT, *LONG):
            yield Recording(
                record=f"slo:sli_error:ratio_rate{window}",
                expr=ratio(slo.indicator, window),
                labels=_labels(slo, window),
            )
        return
    for name, expr in counters(slo.indicator, buckets).items():
        yield Recording(record=name, expr=expr, labels=_labels(slo))
    for window in SHORT:
        found = counted(slo.indicator, window, buckets, _mine(slo), owner.id)
        labels = _labels(slo, window)
        yield Recording(record=f"slo:sli_total:events{window}", expr=found.total, labels=labels)
        yield Recording(record=f"slo:sli_error:events{window}", expr=found.error, labels=labels)
        yield _ratio_of(slo, window)


def _samples(slo: Slo) -> Iterator[Rule]:
    """Copy five minutes' events every five minutes, so that each is in one copy and no more."""
    if isinstance(slo.indicator, Ratio):
        return
    for part in ("total", "error"):
        yield Recording(
            record=f"slo:sli_{part}:sampled5m", expr=f"slo:sli_{part}:events5m{_mine(slo)}", labels=_labels(slo, "5m")
        )


def _long_windows(slo: Slo, pace: float) -> Iterator[Rule]:
    period = f"{seconds(slo.period) / 86400:g}d"
    if isinstance(slo.indicator, Ratio):
        five = f"slo:sli_error:ratio_rate5m{_mine(slo)}[{period}]"
        yield Recording(
            record=f"slo:sli_error:ratio_rate{period}",
            # Only the ratio is known here, so its mean over time is all there is.
            expr=f"sum_over_time({five})\n/\ncount_over_time({five})",
            labels=_labels(slo, period),
        )
        return
    weight = "" if pace == _SAMPLE else f" * ({pace:g} / {_SAMPLE:g})"
    for window in (*LONG, period):
        error, total = (f"sum_over_time(slo:sli_{part}:sampled5m{_mine(slo)}[{window}])" for part in ("error", "total"))
        if window in _ASKED:
            for part, expr in (("total", total), ("error", error)):
                yield Recording(
                    record=f"slo:sli_{part}:events{window}", expr=f"{expr}{weight}", labels=_labels(slo, window)
                )
            yield _ratio_of(slo, window)
        else:
            yield Recording(
                record=f"slo:sli_error:ratio_rate{window}",
                expr=divided(error, total),
                labels=_labels(slo, window),
            )


def _meta(slo: Slo) -> Iterator[Rule]:
    labels, mine, allowed = _labels(slo), _mine(slo), budget(slo.objective)
    days = f"{seconds(slo.period) / 86400:g}"

    def record(name: str, expr: str, **more: str) -> Recording:
        return Recording(record=name, expr=expr, labels={**labels, **more})

    yield record("slo:objective:ratio", f"vector({1 - allowed:f})")
    yield record("slo:error_budget:ratio", f"vector({allowed:f})")
    yield record("slo:time_period:days", f"vector({days})")
    yield record("slo:current_burn_rate:ratio", _burn(slo, "5m"))
    yield record("slo:period_burn_rate:ratio", _burn(slo, f"{days}d"))
    yield record("slo:period_error_budget_remaining:ratio", f"1 - slo:period_burn_rate:ratio{mine}")
    yield record("slo:six_hour_burn_rate:ratio", _burn(slo, "6h"))
    # At 1 or less the budget lasts for ever, so there is no date to tell.
    yield record(
        "slo:error_budget_exhaustion:timestamp_seconds",
        f"time()\n+\n(slo:period_error_budget_remaining:ratio{mine} > 0)\n* {seconds(slo.period):g}\n/\n"
        f"(slo:six_hour_burn_rate:ratio{mine} > 1)",
    )
    yield record(
        "sloth_slo_info", "vector(1)", sloth_mode="claude-sidecar", sloth_spec=slo.origin, sloth_version=__version__
    )


def _burn(slo: Slo, window: str) -> str:
    """Divide by the budget; the label of the window would only be in the way later."""
    return f"sum without (sloth_window) (slo:sli_error:ratio_rate{window}{_mine(slo)}) / {budget(slo.objective):f}"


def _alerts(slo: Slo, links: Links) -> Iterator[Alert]:
    for kind, notice, pairs in (("page", slo.page, PAGE), ("ticket", slo.ticket, TICKET)):
        conditions = [_condition(slo, pair) for pair in pairs if possible(pair, slo.objective, slo.period)]
        either = "\nor ignoring (sloth_window)\n".join(conditions)
        if notice is not None and conditions:
            yield Alert(
                name=slo.alert,
                # One alert, whichever window shows it: with the window's label it would end and begin anew.
                expr=f"max without (sloth_window) {nested(either)}",
                hold=notice.hold,
                labels={
                    # Also in the expression, but here a linter sees that two objectives' alerts are not the same.
                    "sloth_id": slo.id,
                    "severity": notice.severity or links.severities[kind],
                    "sloth_severity": kind,
                    **links.labels,
                    **notice.labels,
                },
                annotations={**_annotations(slo, kind, links), **notice.annotations},
            )


def _condition(slo: Slo, pair: Pair) -> str:
    threshold = f"({pair.factor(slo.period).normalize():f} * {budget(slo.objective):f})"
    parts = [f"slo:sli_error:ratio_rate{window}{_mine(slo)} > {threshold}" for window in (pair.short, pair.long)]
    if slo.minimum_calls:
        parts.append(f"slo:sli_total:events{pair.long}{_mine(slo)} > {slo.minimum_calls:g}")
    if slo.minimum_failures:
        parts.append(f"slo:sli_error:events{pair.long}{_mine(slo)} > {slo.minimum_failures:g}")
    return "(\n" + "\n  and ignoring (sloth_window)\n".join(f"  {part}" for part in parts) + "\n)"


def _annotations(slo: Slo, kind: str, links: Links) -> dict[str, str]:
    allowed = float(budget(slo.objective))
    # Several jobs may share an objective; what the alert is about is told of its own. A label it lacks reads as empty.
    matchers = f'sloth_id="{slo.id}",' + ",".join(f"{label}=%q" for label in JOB)
    about = f"{{{{ $of := printf `{matchers}` {' '.join(f'$labels.{label}' for label in JOB)} }}}}"

    def now(query: str, form: str) -> str:
        found = f"{{{{ . | first | value | {form} }}}}"
        return f"{{{{ with printf `{query}` $of | query }}}}{found}{{{{ else }}}}?{{{{ end }}}}"

    burn = now("max(slo:current_burn_rate:ratio{%s})", "printf `%.1f`")
    left = now("clamp_min(max(slo:period_error_budget_remaining:ratio{%s}), 0)", "humanizePercentage")
    return {
        "title": f"({kind}) {{{{$labels.sloth_service}}}} {{{{$labels.sloth_slo}}}} SLO error budget burn rate is too"
        " fast.",
        "summary": f"The error budget of {slo.id} ({slo.objective:g} % over {slo.period}) burns too fast",
        "description": f"{about}{{{{ $value | humanizePercentage }}}} of events fail; the budget allows"
        f" {allowed * 100:.4g} %. It burns {burn} times as fast as it may, and {left} of it is left."
        "{{ with printf `min(slo:error_budget_exhaustion:timestamp_seconds{%s}) - time()` $of | query }}"
        " At the pace of the last six hours it is used up in {{ . | first | value | humanizeDuration }}.{{ end }}",
        "runbook_url": f"{links.runbooks}/ClaudeErrorBudgetBurn.md",
        "dashboard_url": f"{links.dashboards}/d/claude-slo?var-slo={slo.id}",
    }
