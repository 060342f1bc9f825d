"""Every query against a real Prometheus, filled by a simulated hour in which everything that can happen does."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.dashboards.boards import BOARDS, Query, annotations, filled, queries, selectors, variables
from tests.support.filled import fill
from tests.support.history import TARGET, Span, opened
from tests.support.prometheus import Prometheus
from tests.support.traffic import SCENARIOS, Fleet

# What half an hour cannot hold.
NEEDS_WEEKS: Final = " offset 7d"
NEVER_IN_IT: Final = {
    "claude-latency / Distribution / B": "native histograms, where classic buckets are stored",
    "claude-latency / First token, distribution / B": "the same",
    "claude-latency / Attempts that succeeded or timed out, distribution / B": "the same",
    "claude-breakers-limits / Rate limits now / E": "limits that run out",
    "claude-slo / Objectives / G": "a budget that is left, and yet burns too fast",
}
# One value for each variable, of a corner in which nearly all of it happened.
CHOSEN: Final = {
    "cluster": TARGET["cluster"],
    "namespace": TARGET["namespace"],
    "job": TARGET["job"],
    "instance": TARGET["instance"],
    "source": "client",
    "endpoint": "messages",
    "model": Fleet().models[0],
    "profile": "interactive",
    "slo": "claude-availability",
}
STEP: Final = 15.0


@pytest.fixture(scope="module")
def span() -> Span:
    # Any past will do; a fixed one, and well inside one block of Prometheus.
    return Span(start=1_790_000_000.0 // 7200 * 7200 + 60, end=1_790_000_000.0 // 7200 * 7200 + 60 + 2400, step=STEP)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, span: Span) -> Iterator[Prometheus]:
    """Run a Prometheus that knows an eventful hour."""
    home = tmp_path_factory.mktemp("busy")
    fill(home, SCENARIOS["everything"], Fleet(invented=0.01, label_limit=14), span)
    with opened(home) as server:
        yield server


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Run a Prometheus that knows nothing."""
    with opened(tmp_path_factory.mktemp("empty")) as server:
        yield server


def ask(server: Prometheus, query: Query, span: Span, chosen: dict[str, str]) -> list[dict[str, Any]]:
    """Ask as Grafana would."""
    expr = filled(BOARDS[query.board], query.expr, chosen, step=STEP, span=span.end - span.start)
    if query.instant:
        data = server.api("query", query=expr, time=span.end)
    else:
        data = server.api("query_range", query=expr, start=span.start, end=span.end, step=STEP)
    result: list[dict[str, Any]] = data["result"]
    return result


def values(series: dict[str, Any]) -> list[float]:
    return [float(value) for _, value in series.get("values", [series.get("value")])]


def expected(query: Query) -> bool:
    return str(query) not in NEVER_IN_IT and NEEDS_WEEKS not in query.expr


@pytest.mark.parametrize("query", list(queries()), ids=str)
def test_a_query_returns_numbers_with_all_variables_at_all(query: Query, busy: Prometheus, span: Span) -> None:
    result = ask(busy, query, span, {})
    assert bool(result) or not expected(query)
    for series in result:
        assert not all(math.isnan(value) for value in values(series)), series["metric"]


@pytest.mark.parametrize("query", list(queries()), ids=str)
def test_a_query_returns_numbers_with_one_value_for_each_variable(query: Query, busy: Prometheus, span: Span) -> None:
    chosen = {name: CHOSEN[name] for name in variables(BOARDS[query.board]) if name != "datasource"}
    result = ask(busy, query, span, chosen)
    assert bool(result) or not expected(query)
    for series in result:
        assert not all(math.isnan(value) for value in values(series)), series["metric"]


def test_what_is_excused_has_no_data_indeed(busy: Prometheus, span: Span) -> None:
    """An excuse that is no longer needed goes."""
    known = {str(query): query for query in queries()}
    assert set(NEVER_IN_IT) <= set(known)
    assert [name for name in NEVER_IN_IT if ask(busy, known[name], span, {})] == []


@pytest.mark.parametrize("query", [*queries(), *annotations()], ids=str)
def test_a_query_is_quiet_and_right_where_there_is_nothing(query: Query, empty: Prometheus, span: Span) -> None:
    """No error, no NaN; only what counts losses may say 0 of nothing."""
    for series in ask(empty, query, span, {}):
        assert values(series) == [0.0]
        assert "or vector(0)" in query.expr


@pytest.mark.parametrize("query", list(annotations()), ids=str)
def test_an_annotation_marks_what_happened(query: Query, busy: Prometheus, span: Span) -> None:
    assert bool(ask(busy, query, span, {})) == (query.ref == "Breaker opened" or "process_start" in query.expr)


def test_every_variable_offers_values(busy: Prometheus, span: Span) -> None:
    for board in BOARDS.values():
        for name, variable in variables(board).items():
            if variable["type"] == "query":
                text = filled(board, variable["query"]["query"], {}, step=STEP, span=60.0)
                selector, _, label = text.removeprefix("label_values(").removesuffix(")").rpartition(", ")
                asked: dict[str, str | float] = {"match[]": selector, "start": span.start, "end": span.end}
                found = busy.api(f"label/{label}/values", **asked)
                assert CHOSEN[name] in found, (board["title"], name)


def test_a_recorded_series_that_is_shown_was_recorded(busy: Prometheus, span: Span, tmp_path: Path) -> None:
    """The dashboards' and the rules' spelling of a name is the same one, and the rules do give it data."""
    shown = {metric for query in queries() for metric, _ in selectors(query.expr) if ":" in metric}
    there = set(busy.api("label/__name__/values", start=span.start, end=span.end))
    rare = {"slo:error_budget_exhaustion:timestamp_seconds"}
    assert shown - there <= rare, json.dumps(sorted(shown - there))
