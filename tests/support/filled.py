"""A Prometheus storage that looks as if claude-sidecar had been scraped, and its rules evaluated, for some hours."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from sidecar.alerts import Buckets, alert_groups, load_values, recording_groups
from sidecar.alerts.export import default_slos
from sidecar.rules import Group, as_prometheus
from sidecar.slo import generate, load
from tests.support.history import TARGET, Span, backfill, evaluate, scraped
from tests.support.traffic import Fleet, Scenario, Traffic

_PROCESS: Final = {
    "process_resident_memory_bytes": 61e6,
    "process_open_fds": 40,
    "process_max_fds": 1024,
}


def rules(*, alerts: bool = True) -> tuple[Group, ...]:
    """Return everything a default installation loads, for classic buckets: the backfilled text has no others."""
    values, (slos, _) = load_values(), load(default_slos())
    return (
        *recording_groups(Buckets.CLASSIC, values),
        *generate(slos, Buckets.CLASSIC),
        *(alert_groups(values) if alerts else ()),
    )


def fill(home: Path, scenario: Scenario, fleet: Fleet, span: Span, *, alerts: bool = True, pace: float = 0) -> None:
    """Let the traffic happen, scrape it, evaluate the rules over it, and store it all under ``home``.

    Rules are evaluated at their own intervals, but at most every ``pace`` seconds.
    """
    traffic = Traffic(scenario, fleet, start=span.start, end=span.end)
    backfill(home, scraped(_with_process(traffic.pages(span.step), span), TARGET))
    file = home / "rules.yaml"
    file.write_text(as_prometheus(rules(alerts=alerts)))
    evaluate(home, [file], replace(span, step=max(span.step, pace)))


def _with_process(pages: Iterator[tuple[float, str]], span: Span) -> Iterator[tuple[float, str]]:
    """Add what a process tells of itself."""
    for moment, page in pages:
        own = {
            **_PROCESS,
            "process_start_time_seconds": span.start,
            "process_cpu_seconds_total": (moment - span.start) * 0.08,
        }
        yield moment, page + "".join(f"{name} {value}\n" for name, value in own.items())
