"""Panels that read histograms themselves, against a Prometheus that stores them natively and scrapes the real page."""

import time
from collections.abc import Iterator

import pytest

from sidecar import serve_metrics
from tests.dashboards.boards import BOARDS, Query, filled, queries
from tests.support.prometheus import Prometheus, prometheus
from tests.support.traffic import SCENARIOS, Fleet, Traffic

MINUTES = 5
READING = [
    query
    for query in queries()
    if "_bucket" in query.expr or (query.ref == "B" and "distribution" in query.panel.lower())
]
DISTRIBUTIONS = {query.panel for query in READING if "histogram_quantile" not in query.expr}


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Run a Prometheus with native histograms and exemplars; between two scrapes a simulated minute goes by."""
    start = time.time() - MINUTES * 60
    traffic = Traffic(SCENARIOS["everything"], Fleet(traced=True), start=start, end=start + 3600)
    minutes = traffic.pages(60.0)
    with (
        serve_metrics(0, telemetry=traffic.telemetry) as served,
        prometheus(tmp_path_factory.mktemp("native"), [f"127.0.0.1:{served.port}"]) as server,
    ):
        for _ in range(MINUTES):
            next(minutes)
            server.wait_for_scrapes()
        yield server


def test_there_are_such_panels() -> None:
    assert len(READING) > 10
    assert len(DISTRIBUTIONS) == 3


def test_this_prometheus_has_no_classic_buckets(native: Prometheus) -> None:
    assert native.query("claude_call_duration_seconds_bucket") == []


@pytest.mark.parametrize("query", READING, ids=str)
def test_a_panel_shows_the_same_from_native_histograms(query: Query, native: Prometheus) -> None:
    now = time.time()
    expr = filled(BOARDS[query.board], query.expr, {}, step=1, span=60)
    result = native.api("query_range", query=expr, start=now - 5, end=now, step=1)["result"]
    if "histogram_quantile" in query.expr:
        assert result
        assert all(float(value) >= 0 for series in result for _, value in series["values"])
    else:
        # Of a distribution's two queries the native one answers, with whole histograms.
        assert bool(result) == (query.ref == "B")
        assert all("histograms" in series for series in result)


def test_the_exemplars_that_open_a_trace_are_found_by_the_panels_own_query(native: Prometheus) -> None:
    marked = [query for query in queries() if "Percentiles of everything" in query.panel and query.ref == "C"]
    (query,) = marked
    found = native.exemplars(filled(BOARDS[query.board], query.expr, {}, step=1, span=60))
    assert found
    assert all(len(exemplar["labels"]["trace_id"]) == 32 for exemplar in found)
