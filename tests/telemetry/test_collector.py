"""The families in an application's own ``/metrics``."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.model import TraceRef
from sidecar.telemetry import Telemetry
from sidecar.telemetry.exposition import Format, Renderer
from tests.telemetry.records import attempt, call

TRACE = TraceRef(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")
Parse = Callable[[str], object]


def samples(parse: Callable[[str], object], page: bytes) -> set[tuple[object, ...]]:
    return {
        (family.name, family.type, sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in parse(page.decode())  # type: ignore[attr-defined]
        for sample in family.samples
    }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def telemetry(registry: CollectorRegistry) -> Telemetry:
    telemetry = Telemetry(registry)
    telemetry.attempt(attempt())
    telemetry.call(call(trace=TRACE))
    telemetry.timeouts("default", {"connect": 5.0})  # type: ignore[arg-type, dict-item]
    return telemetry


def test_an_applications_page_says_what_ours_says(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    ours = Renderer().render(telemetry.collect(), Format.TEXT)
    assert samples(parse_text, generate_latest(registry)) == samples(parse_text, ours)


def test_an_applications_openmetrics_says_what_ours_says(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    ours = Renderer().render(telemetry.collect(), Format.OPENMETRICS)
    theirs = generate_openmetrics(registry)
    assert samples(parse_openmetrics, theirs) == samples(parse_openmetrics, ours)
    exemplars = [
        sample.exemplar for family in parse_openmetrics(theirs.decode()) for sample in family.samples if sample.exemplar
    ]
    assert {exemplar.labels["trace_id"] for exemplar in exemplars} == {TRACE.trace_id}


def test_the_applications_own_metrics_stay_beside_ours(registry: CollectorRegistry, telemetry: Telemetry) -> None:
    Counter("app_orders", "Orders.", registry=registry).inc()
    page = generate_latest(registry).decode()
    assert "app_orders_total 1.0" in page
    assert "claude_calls_total{" in page


@pytest.mark.usefixtures("telemetry")
def test_registering_two_on_one_registry_is_refused(registry: CollectorRegistry) -> None:
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Telemetry(registry)


def test_the_global_registry_is_touched_only_when_it_is_passed() -> None:
    code = """
import prometheus_client, sidecar
from sidecar.telemetry.page import MetricsPage
before = set(prometheus_client.REGISTRY._names_to_collectors)
MetricsPage().answer("GET")
sidecar.default_telemetry().dropped("x")
assert set(prometheus_client.REGISTRY._names_to_collectors) == before
sidecar.default_telemetry().register(prometheus_client.REGISTRY)
assert b"sidecar_dropped_records_total" in prometheus_client.generate_latest()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
