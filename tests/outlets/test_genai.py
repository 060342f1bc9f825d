"""Proves that the GenAI metrics are fed from the records, as the conventions name them, also over the wire."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    InMemoryMetricReader,
    PeriodicExportingMetricReader,
)

from sidecar.model import ENDPOINTS, Outcome
from sidecar.telemetry import Telemetry, semconv
from sidecar.telemetry.genai import GenAIMetrics, exponential_views
from tests.outlets import otlp, samples


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    provider = MeterProvider(metric_readers=[reader])
    yield provider
    provider.shutdown()


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


COMMON = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-5-5",
    "server.address": "api.anthropic.com",
}


def test_a_call_feeds_duration_tokens_and_time_to_first_chunk(
    provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    telemetry = Telemetry()
    telemetry.add_sink(GenAIMetrics(provider))
    telemetry.attempt(samples.attempt())
    telemetry.call(samples.call(trace=samples.TRACE))
    told = points(reader)
    (duration,) = told["gen_ai.client.operation.duration"]
    assert (duration.attributes, duration.count, duration.sum) == (COMMON, 1, 2.5)
    (first,) = told["gen_ai.client.operation.time_to_first_chunk"]
    assert (first.attributes, first.count, first.sum) == (COMMON, 1, 0.75)
    tokens = {point.attributes["gen_ai.token.type"]: point for point in told["gen_ai.client.token.usage"]}
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 21_000, "output": 350}
    assert tokens["input"].attributes == COMMON | {"gen_ai.token.type": "input"}
    assert f"{duration.exemplars[0].trace_id:032x}" == samples.TRACE.trace_id


def test_a_failed_call_tells_its_error_and_only_what_there_was(
    provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    genai = GenAIMetrics(provider)
    nothing = {"usage": None, "first_token": None, "host": "", "model": ""}
    genai.call(samples.call(outcome=Outcome.OVERLOADED, error_type="overloaded_error", **nothing))
    genai.call(samples.call(outcome=Outcome.TRUNCATED, **nothing))
    told = points(reader)
    assert set(told) == {"gen_ai.client.operation.duration"}
    assert {point.attributes["error.type"] for point in told["gen_ai.client.operation.duration"]} == {
        "overloaded_error",
        "truncated",
    }
    assert all("server.address" not in point.attributes for point in told["gen_ai.client.operation.duration"])


def test_only_calls_that_generate_count(provider: MeterProvider, reader: InMemoryMetricReader) -> None:
    genai = GenAIMetrics(provider)
    for endpoint in ENDPOINTS:
        genai.call(samples.call(endpoint=endpoint))
    operations = [
        point.attributes["gen_ai.operation.name"] for point in points(reader)[semconv.METRIC_OPERATION_DURATION]
    ]
    assert sorted(operations) == ["chat", "text_completion"]


def test_classic_buckets_reach_beyond_the_sdks_own_timeout(
    provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    GenAIMetrics(provider).call(samples.call(duration=600.0))
    (point,) = points(reader)[semconv.METRIC_OPERATION_DURATION]
    assert isinstance(point, HistogramDataPoint)
    assert point.bucket_counts[-1] == 0
    assert max(point.explicit_bounds) > 1_200


def test_the_views_make_exponential_histograms() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], views=exponential_views())
    genai = GenAIMetrics(provider)
    for duration in (0.1, 1.0, 60.0, 600.0):
        genai.call(samples.call(duration=duration))
    told = points(reader)
    assert len(told) == 3
    assert all(isinstance(point, ExponentialHistogramDataPoint) for each in told.values() for point in each)
    assert told[semconv.METRIC_OPERATION_DURATION][0].count == 4
    provider.shutdown()


def test_the_provider_the_application_sets_is_used_from_then_on(
    provider: MeterProvider, reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    genai = GenAIMetrics()
    genai.call(samples.call())
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", provider)  # as set_meter_provider does, once
    genai.call(samples.call())
    genai.call(samples.call())
    assert points(reader)[semconv.METRIC_OPERATION_DURATION][0].count == 2


def test_the_metrics_arrive_over_otlp() -> None:
    with otlp.collector() as collector:
        exporter = OTLPMetricExporter(endpoint=collector.metrics_url)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider(metric_readers=[reader], views=exponential_views())
        GenAIMetrics(provider).call(samples.call())
        provider.shutdown()
    duration = collector.metrics["gen_ai.client.operation.duration"]
    assert duration.unit == "s"
    (point,) = duration.exponential_histogram.data_points
    assert (point.count, point.sum) == (1, 2.5)
    assert otlp.plain(point.attributes) == COMMON
    assert collector.metrics["gen_ai.client.token.usage"].unit == "{token}"
    assert "gen_ai.client.operation.time_to_first_chunk" in collector.metrics
