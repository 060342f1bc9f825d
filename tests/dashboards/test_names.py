"""Dashboards and metrics agree: no query asks for what does not exist, and nothing that exists is shown nowhere."""

import re
from functools import cache
from typing import Final

import pytest

from sidecar.alerts import ALERT_NAMES, Buckets, alert_groups, load_values, recording_groups
from sidecar.alerts.export import default_slos
from sidecar.rules import Alert, Recording
from sidecar.slo import generate, load
from sidecar.telemetry.families import BY_NAME, FAMILIES, Kind
from tests.alerts.contract import WORKING
from tests.dashboards.boards import BOARDS, Query, annotations, grouped_by, queries, selectors, variables

TARGET_LABELS: Final = {"cluster", "namespace", "job", "instance"}
PROCESS: Final = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
}
"""Of what every client library exposes, what we show."""
SCRAPE: Final = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
ALERTS: Final = {"ALERTS", "ALERTS_FOR_STATE"}
SUFFIX: Final = re.compile(r"_(?:bucket|sum|count)$")


@cache
def recorded() -> set[str]:
    """Name what the recording rules record, and check that both kinds of them record the same.

    Each also records what only its own rules read; no panel may ask for that.
    """
    found = {}
    slos, _ = load(default_slos())
    for buckets in Buckets:
        groups = (*recording_groups(buckets, load_values()), *generate(slos, buckets))
        found[buckets] = {rule.record for group in groups for rule in group.rules if isinstance(rule, Recording)}
    native, classic = ({record for record in found[buckets] if not WORKING.search(record)} for buckets in Buckets)
    assert native == classic
    return native


EVERYTHING: Final = (*queries(), *annotations())


def family(metric: str) -> str:
    base = SUFFIX.sub("", metric)
    return base if base in BY_NAME and BY_NAME[base].kind is Kind.HISTOGRAM else metric


@pytest.mark.parametrize("query", EVERYTHING, ids=str)
def test_every_metric_of_a_query_exists(query: Query) -> None:
    known = set(BY_NAME) | recorded() | PROCESS | SCRAPE | ALERTS
    found = selectors(query.expr)
    assert found
    assert {family(metric) for metric, _ in found} - known == set()


def test_every_label_that_a_metric_is_matched_by_exists() -> None:
    for query in EVERYTHING:
        for metric, labels in selectors(query.expr):
            if family(metric) in BY_NAME:
                own = set(BY_NAME[family(metric)].labels)
                assert labels <= own | TARGET_LABELS, (str(query), metric)


def test_every_label_that_is_grouped_by_exists() -> None:
    labels = TARGET_LABELS | {label for each in FAMILIES for label in each.labels}
    labels |= {"le", "sloth_id", "sloth_slo", "alertstate"}
    for query in EVERYTHING:
        assert grouped_by(query.expr) <= labels, str(query)


def test_every_metric_of_the_contract_is_shown_somewhere() -> None:
    """Directly, or as a recorded series made of it."""
    shown = {metric for query in queries() for metric, _ in selectors(query.expr)}
    sources = {}
    slos, _ = load(default_slos())
    groups = (*recording_groups(Buckets.NATIVE, load_values()), *generate(slos, Buckets.NATIVE))
    for group in groups:
        for rule in group.rules:
            if isinstance(rule, Recording):
                sources[rule.record] = set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", rule.expr))
    reached, waiting = set[str](), list(shown)
    while waiting:
        metric = waiting.pop()
        if metric not in reached:
            reached.add(metric)
            waiting += sources.get(metric, ())
    assert set(BY_NAME) - {family(metric) for metric in reached} == set()


def test_a_variable_reads_its_values_from_a_metric_that_has_the_label() -> None:
    for board in BOARDS.values():
        for variable in variables(board).values():
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\(([a-z_:]+)(?:\{[^}]*\})?, (\w+)\)", variable["query"]["query"])
                assert found
                metric, label = found.groups()
                if metric in BY_NAME:
                    assert label in set(BY_NAME[metric].labels) | TARGET_LABELS
                else:
                    assert (metric, label) == ("slo:objective:ratio", "sloth_id")


def test_the_overview_lists_every_alert_we_ship() -> None:
    names = {rule.name for group in alert_groups(load_values()) for rule in group.rules if isinstance(rule, Alert)}
    slos, _ = load(default_slos())
    names |= {slo.alert for slo in slos} | set(ALERT_NAMES)
    (listing,) = [query for query in queries() if query.panel == "What alerts fire now"]
    (pattern,) = set(re.findall(r'alertname=~"([^"]+)"', listing.expr))
    assert all(re.fullmatch(pattern, name) for name in names)


def test_the_dashboards_that_alerts_link_to_exist() -> None:
    rules = [rule for group in alert_groups(load_values()) for rule in group.rules if isinstance(rule, Alert)]
    linked = {re.search(r"/d/([\w-]+)", rule.annotations["dashboard_url"])[1] for rule in rules}  # type: ignore[index]
    assert linked <= set(BOARDS)
