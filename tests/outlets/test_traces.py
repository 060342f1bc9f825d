"""Proves that spans say what the records say, stand under the right parent, and cost nothing while nobody traces."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from sidecar.model import ENDPOINTS, OTHER, AttemptRecord, Outcome, Phase, Profile, RetryResult, Source, TraceRef, Wait
from sidecar.telemetry import Telemetry, otel, semconv
from sidecar.telemetry.traces import CallSpan, Tracing, parse_traceparent
from tests.outlets import otlp, samples


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def tracing(provider: TracerProvider) -> Tracing:
    return Tracing(provider)


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def attributes(of: Any) -> Mapping[str, AttributeValue]:
    assert of.attributes is not None
    return dict(of.attributes)


BEGINNING: dict[str, Any] = {
    "source": Source.CLIENT,
    "endpoint": "messages",
    "model": "claude-sonnet-5-5",
    "profile": Profile.AGENTIC,
    "stream": True,
    "started_at": 1_800_000_000.25,
    "host": "api.anthropic.com",
}


def test_an_attempt_becomes_a_client_span_under_its_call(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    tracing.attempt(samples.attempt(number=2, trace=samples.TRACE))
    span = only(exporter)
    assert (span.name, span.kind) == ("POST /v1/messages", SpanKind.CLIENT)
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (
        samples.TRACE.trace_id,
        samples.TRACE.span_id,
    )
    assert not span.parent.is_remote
    assert (span.start_time, span.end_time) == (1_800_000_000_250_000_000, 1_800_000_002_750_000_000)
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.request.resend_count": 2,
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "url.template": "/v1/messages",
        "url.full": "https://api.anthropic.com/v1/messages",
        "gen_ai.request.model": "claude-sonnet-5-5",
        "anthropic.request.id": "req_011CSHoEeqs5C35K2UUqR7Fy",
        "claude.outcome": "ok",
        "claude.profile": "interactive",
        "claude.source": "client",
    }
    assert span.status.status_code is StatusCode.UNSET


def test_a_stalled_attempt_tells_phase_error_and_events(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    tracing.attempt(
        samples.attempt(
            outcome=Outcome.TIMEOUT, phase=Phase.STALL, error_type="ReadTimeout", max_gap=1.5, max_gap_at=1.0
        )
    )
    span = only(exporter)
    told = attributes(span)
    assert (told["claude.outcome"], told["claude.timeout.phase"], told["error.type"]) == (
        "timeout",
        "stall",
        "ReadTimeout",
    )
    assert span.status.status_code is StatusCode.ERROR
    assert not span.status.description
    assert span.parent is None
    assert [(event.name, event.timestamp, attributes(event)) for event in span.events] == [
        ("claude.first_token", 1_800_000_001_000_000_000, {}),
        ("claude.stall", 1_800_000_001_250_000_000, {"claude.seconds": 1.5}),
    ]


@pytest.mark.parametrize(("gap", "events"), [(4.9, []), (5.0, ["claude.stall"])], ids=["a usual gap", "a long silence"])
def test_a_long_silence_of_a_good_stream_is_an_event_too(
    tracing: Tracing, exporter: InMemorySpanExporter, gap: float, events: list[str]
) -> None:
    tracing.attempt(samples.attempt(first_token=None, max_gap=gap, max_gap_at=0.5))
    assert [event.name for event in only(exporter).events] == events


@pytest.mark.parametrize(
    ("changes", "error", "status"),
    [
        ({"outcome": Outcome.OVERLOADED, "status": 529, "error_type": "overloaded_error"}, "overloaded_error", "ERROR"),
        ({"outcome": Outcome.SERVER_ERROR, "status": 503}, "503", "ERROR"),
        ({"outcome": Outcome.TRUNCATED, "status": 200}, "truncated", "ERROR"),
        ({"outcome": Outcome.CONNECTION_ERROR, "status": None}, "connection_error", "ERROR"),
        ({"outcome": Outcome.CANCELLED, "status": None, "error_type": "CancelledError"}, None, "UNSET"),
        ({"outcome": Outcome.OK}, None, "UNSET"),
    ],
    ids=lambda value: str(value.get("outcome")) if isinstance(value, dict) else "",
)
def test_errors_are_told_as_the_conventions_say(
    tracing: Tracing, exporter: InMemorySpanExporter, changes: dict[str, Any], error: str | None, status: str
) -> None:
    tracing.attempt(samples.attempt(**changes))
    span = only(exporter)
    assert (attributes(span).get("error.type"), span.status.status_code.name) == (error, status)


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({"port": None}, "https://api.anthropic.com/v1/messages"),
        ({"port": 80}, "http://api.anthropic.com/v1/messages"),
        ({"port": 8788, "host": "127.0.0.1"}, None),
        ({"host": ""}, None),
        ({"endpoint": OTHER}, None),
        ({"endpoint": "files.content"}, "https://api.anthropic.com/v1/files/{file_id}/content"),
    ],
    ids=str,
)
def test_a_url_is_told_by_its_route_and_only_where_it_is_certain(
    tracing: Tracing, exporter: InMemorySpanExporter, changes: dict[str, Any], url: str | None
) -> None:
    tracing.attempt(samples.attempt(**changes))
    assert attributes(only(exporter)).get("url.full") == url


def test_methods_and_endpoints_nobody_knows_stay_out_of_the_span(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    tracing.attempt(samples.attempt(method="BREW", endpoint=OTHER, model=""))
    span = only(exporter)
    assert (span.name, attributes(span)["http.request.method"]) == ("HTTP", "_OTHER")
    assert "gen_ai.request.model" not in attributes(span)


def test_every_endpoint_has_a_route() -> None:
    assert set(semconv.URL_TEMPLATES) == set(ENDPOINTS) - {OTHER}


def test_an_attempt_of_an_unsampled_call_makes_no_span(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    unsampled = TraceRef(trace_id=samples.TRACE.trace_id, span_id=samples.TRACE.span_id, sampled=False)
    tracing.attempt(samples.attempt(trace=unsampled))
    assert exporter.get_finished_spans() == ()


def test_a_call_the_sdk_makes_no_span_for_gets_ours(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    span = tracing.for_call(**BEGINNING)
    assert span is not None
    assert parse_traceparent(span.headers()["traceparent"]) == span.ref
    tracing.attempt(samples.attempt(trace=span.ref))
    record = samples.call(
        attempts=2, retry_result=RetryResult.RECOVERED, profile=Profile.AGENTIC, trace=span.ref, duration=4.0
    )
    tracing.call(record)  # the sink's part changes nothing
    span.end(record)
    attempt, call = exporter.get_finished_spans()
    assert call.context is not None
    assert attempt.parent is not None
    assert attempt.parent.span_id == call.context.span_id == int(span.ref.span_id, 16)
    assert (call.name, call.kind, call.status.status_code) == (
        "chat claude-sonnet-5-5",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert (call.start_time, call.end_time) == (1_800_000_000_250_000_000, 1_800_000_004_250_000_000)
    assert attributes(call) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-5-5",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.response.time_to_first_chunk": 0.75,
        "gen_ai.usage.input_tokens": 21_000,
        "gen_ai.usage.output_tokens": 350,
        "anthropic.request.id": "req_011CSHoEeqs5C35K2UUqR7Fy",
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "http.request.resend_count": 1,
        "claude.attempts": 2,
        "claude.outcome": "ok",
        "claude.profile": "agentic",
        "claude.source": "client",
        "claude.retry.result": "recovered",
    }


def test_a_call_that_generates_nothing_is_named_by_its_endpoint(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    span = tracing.for_call(**BEGINNING | {"endpoint": "models", "model": "", "stream": False, "host": ""})
    assert span is not None
    span.end(
        samples.call(
            outcome=Outcome.TIMEOUT,
            phase=Phase.DEADLINE,
            usage=None,
            stop_reason=None,
            first_token=None,
            request_id=None,
        )
    )
    call = only(exporter)
    assert call.name == "models"
    assert attributes(call) == {
        "gen_ai.provider.name": "anthropic",
        "error.type": "timeout",
        "claude.attempts": 1,
        "claude.outcome": "timeout",
        "claude.timeout.phase": "deadline",
        "claude.profile": "interactive",
        "claude.source": "client",
    }


def test_waits_and_rejections_are_events_of_the_call(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    span = tracing.for_call(**BEGINNING)
    assert span is not None
    span.waited(Wait(reason=Outcome.OVERLOADED, at=1.5, seconds=0.5))
    span.rejected("api.anthropic.com/claude-sonnet-5-5", retry_after=12.5)
    span.rejected("api.anthropic.com/claude-sonnet-5-5")
    span.end(samples.call(outcome=Outcome.REJECTED, error_type="BreakerOpen", attempts=1))
    call = only(exporter)
    wait, first, second = call.events
    assert (wait.name, wait.timestamp) == ("claude.retry.wait", 1_800_000_001_750_000_000)
    assert attributes(wait) == {"claude.retry.reason": "overloaded", "claude.seconds": 0.5}
    assert first.name == second.name == "claude.breaker.rejected"
    assert attributes(first) == {"claude.breaker": "api.anthropic.com/claude-sonnet-5-5", "claude.retry_after": 12.5}
    assert attributes(second) == {"claude.breaker": "api.anthropic.com/claude-sonnet-5-5"}
    assert attributes(call)["error.type"] == "BreakerOpen"
    assert call.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("scope", [semconv.SDK_SCOPE, f"{semconv.SDK_SCOPE}.bedrock"])
def test_the_sdks_own_span_is_used_and_never_doubled(
    tracing: Tracing, provider: TracerProvider, exporter: InMemorySpanExporter, scope: str
) -> None:
    with provider.get_tracer(scope).start_as_current_span("anthropic.messages.create", kind=SpanKind.CLIENT) as own:
        span = tracing.for_call(**BEGINNING)
        assert span is not None
        assert span.headers() == {}  # the SDK sends them
        span.waited(Wait(reason=Outcome.TIMEOUT, at=1.0, seconds=0.5))
        tracing.attempt(samples.attempt(trace=span.ref))
        span.end(samples.call(trace=span.ref))
        assert own.is_recording()
    attempt, call = exporter.get_finished_spans()
    assert call.name == "anthropic.messages.create"
    assert attempt.parent is not None
    assert call.context is not None
    assert (attempt.parent.trace_id, attempt.parent.span_id) == (call.context.trace_id, call.context.span_id)
    assert [event.name for event in call.events] == ["claude.retry.wait"]
    assert attributes(call) == {"claude.outcome": "ok", "claude.profile": "interactive", "claude.attempts": 1}
    span.end(samples.call())  # the SDK has ended it: too late, and no complaint


@pytest.mark.parametrize("own_span", [True, False], ids=["on", "off"])
def test_a_call_through_the_real_sdk_has_one_call_span_with_its_attempts_under_it(
    tracing: Tracing, provider: TracerProvider, exporter: InMemorySpanExporter, own_span: bool
) -> None:
    import anthropic
    import httpx2

    sent: list[httpx2.Request] = []
    found: list[CallSpan | None] = []

    def send(request: httpx2.Request) -> httpx2.Response:
        if not found:
            found.append(tracing.for_call(**BEGINNING))
        (span,) = found
        assert span is not None
        request.headers.update(span.headers())
        sent.append(request)
        tracing.attempt(samples.attempt(number=len(sent) - 1, trace=span.ref))
        if len(sent) == 1:
            return httpx2.Response(529, headers={"retry-after-ms": "1"}, json={"type": "error"})
        span.end(samples.call(trace=span.ref))
        return httpx2.Response(200, json={"id": "msg_1", "type": "message", "role": "assistant", "content": []})

    with httpx2.Client(transport=httpx2.MockTransport(send)) as http:
        client = anthropic.Anthropic(
            api_key="sk-ant-canary",
            http_client=http,
            open_telemetry={"tracer_provider": provider} if own_span else False,
        )
        client.messages.create(
            model="claude-sonnet-5-5", max_tokens=8, messages=[{"role": "user", "content": "canary"}]
        )
    spans = {f"{span.context.span_id:016x}": span for span in exporter.get_finished_spans() if span.context}
    attempts = [span for span in spans.values() if span.name == "POST /v1/messages"]
    assert len(attempts) == 2
    for attempt, request in zip(attempts, sent, strict=True):
        assert attempt.parent is not None
        announced = parse_traceparent(request.headers["traceparent"])
        assert announced is not None
        assert announced.span_id == f"{attempt.parent.span_id:016x}"
    (call,) = [span for span in spans.values() if span not in attempts]
    assert call.name == ("anthropic.messages.create" if own_span else "chat claude-sonnet-5-5")
    assert call.context is not None
    assert {attempt.parent.span_id for attempt in attempts if attempt.parent} == {call.context.span_id}
    assert "canary" not in "".join(span.to_json() for span in spans.values())


def test_another_current_span_is_the_parent_of_ours(
    tracing: Tracing, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    with provider.get_tracer("app").start_as_current_span("handler", kind=SpanKind.CLIENT) as handler:
        span = tracing.for_call(**BEGINNING)
        assert span is not None
        span.end(samples.call())
    call, _ = exporter.get_finished_spans()
    assert call.parent == handler.get_span_context()


def test_the_sdks_span_of_a_tool_is_not_taken_for_a_calls(
    tracing: Tracing, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    with provider.get_tracer(semconv.SDK_SCOPE).start_as_current_span("execute_tool"):
        span = tracing.for_call(**BEGINNING)
        assert span is not None
        span.end(samples.call())
    assert [each.name for each in exporter.get_finished_spans()] == ["chat claude-sonnet-5-5", "execute_tool"]


def test_a_callers_trace_from_afar_is_continued(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    parent = parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert parent == samples.TRACE
    span = tracing.for_call(**BEGINNING, parent=parent)
    assert span is not None
    span.end(samples.call())
    call = only(exporter)
    assert call.parent is not None
    assert call.parent.is_remote
    assert f"{call.parent.span_id:016x}" == samples.TRACE.span_id


def test_a_call_that_is_not_sampled_says_so_in_its_records(exporter: InMemorySpanExporter) -> None:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider)
    span = tracing.for_call(**BEGINNING)
    assert span is not None
    assert not span.ref.sampled
    span.waited(Wait(reason=Outcome.TIMEOUT, at=1.0, seconds=0.5))
    tracing.attempt(samples.attempt())
    span.end(samples.call())
    assert exporter.get_finished_spans() == ()
    provider.shutdown()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("nonsense", None),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", False),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", True),
        (" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ", True),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", None),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None),
        ("00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01", None),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-" + "x" * 10_000, None),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(header: str | None, expected: bool | None) -> None:
    ref = parse_traceparent(header)
    assert (None if ref is None else ref.sampled) == expected


@settings(deadline=None, max_examples=100)
@given(samples.attempts, samples.calls, st.text())
def test_no_record_and_no_header_can_make_tracing_raise(record: AttemptRecord, call: Any, header: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider)
    tracing.attempt(record)
    span = tracing.for_call(**BEGINNING)
    assert span is not None
    span.end(call)
    parse_traceparent(header)
    provider.shutdown()
    known = {value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)}
    for told in exporter.get_finished_spans():
        assert set(attributes(told)) <= known


def test_telemetry_passes_attempts_on_and_exemplars_share_their_trace(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    telemetry = Telemetry()
    telemetry.add_sink(tracing)
    telemetry.attempt(samples.attempt(trace=samples.TRACE))
    exemplars = telemetry.histogram("claude_attempt_duration_seconds").exemplars
    assert only(exporter).context is not None
    assert samples.TRACE.trace_id in repr(exemplars)


def test_who_wants_no_call_begun_gets_none(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    assert tracing.for_call(**BEGINNING, begin=False) is None
    assert exporter.get_finished_spans() == ()


def test_without_a_provider_there_are_no_spans_until_one_is_set(
    provider: TracerProvider, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing = Tracing()
    assert tracing.for_call(**BEGINNING) is None
    tracing.attempt(samples.attempt())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)  # what trace.set_tracer_provider sets, once and for all
    tracing.attempt(samples.attempt())
    tracing.attempt(samples.attempt())
    assert len(exporter.get_finished_spans()) == 2


class _Broken(SpanProcessor):
    """A processor of an application that has its own troubles."""

    def __init__(self, at: str) -> None:
        self.at = at

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  # its interface
        if self.at == "start":
            raise RuntimeError("disk full")

    def on_end(self, span: ReadableSpan) -> None:  # noqa: ARG002  # its interface
        raise RuntimeError("disk full")


@pytest.mark.parametrize("at", ["start", "end"])
def test_a_broken_tracer_is_nobodys_problem(
    at: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("secret")

    caplog.set_level("DEBUG")
    provider = TracerProvider()
    provider.add_span_processor(_Broken(at))
    tracing = Tracing(provider)
    telemetry = Telemetry()
    telemetry.add_sink(tracing)
    span = tracing.for_call(**BEGINNING)
    telemetry.attempt(samples.attempt())
    if at == "start":
        assert span is None
    else:
        assert span is not None
        monkeypatch.setattr("opentelemetry.propagate.inject", broken)
        assert span.headers() == {}
        span.end(samples.call())
    assert telemetry.value("sidecar_internal_errors_total") == 1
    assert "secret" not in caplog.text
    assert "disk full" not in caplog.text
    provider.shutdown()


def test_a_provider_that_cannot_be_loaded_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> TracerProvider:
        raise RuntimeError("OTEL_PYTHON_TRACER_PROVIDER names nothing that is installed")

    monkeypatch.setattr(trace, "get_tracer_provider", broken)
    monkeypatch.setattr(otel, "_asked", {})
    assert Tracing().for_call(**BEGINNING) is None


def test_opentelemetry_is_not_imported_for_finding_out_that_nobody_traces() -> None:
    script = (
        "import sys\n"
        "from sidecar.telemetry.traces import Tracing\n"
        "from sidecar.telemetry.genai import GenAIMetrics\n"
        "from tests.outlets import samples\n"
        "Tracing().attempt(samples.attempt()); GenAIMetrics().call(samples.call())\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_spans_arrive_over_otlp() -> None:
    with otlp.collector() as collector:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=collector.traces_url)))
        tracing = Tracing(provider)
        span = tracing.for_call(**BEGINNING)
        assert span is not None
        tracing.attempt(samples.attempt(outcome=Outcome.OVERLOADED, status=529, trace=span.ref))
        span.waited(Wait(reason=Outcome.OVERLOADED, at=2.5, seconds=0.5))
        tracing.attempt(samples.attempt(number=1, trace=span.ref))
        span.end(samples.call(attempts=2, trace=span.ref))
        provider.shutdown()
    failed, good, call = collector.spans
    assert failed.parent_span_id == good.parent_span_id == call.span_id == bytes.fromhex(span.ref.span_id)
    assert failed.trace_id == good.trace_id == call.trace_id == bytes.fromhex(span.ref.trace_id)
    assert otlp.plain(list(failed.attributes))["http.response.status_code"] == 529
    assert otlp.plain(list(good.attributes))["http.request.resend_count"] == 1
    assert [event.name for event in call.events] == ["claude.retry.wait"]
    assert otlp.plain(list(call.attributes))["gen_ai.response.finish_reasons"] == ["end_turn"]


def test_the_table_agrees_with_the_conventions_where_they_are_installed() -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, url_attributes
    from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
    from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes

    published: dict[str, str] = {}
    for module in (
        gen_ai_attributes,
        url_attributes,
        error_attributes,
        http_attributes,
        server_attributes,
        gen_ai_metrics,
    ):
        published |= {name: value for name, value in vars(module).items() if isinstance(value, str)}
    ours = {
        name: value for name, value in vars(semconv).items() if name.startswith(("HTTP_", "URL_F", "GEN_AI", "ERROR"))
    }
    known = ours.keys() & published.keys()  # the oldest conventions have not all of the names
    assert len(known) > 8
    assert {name: published[name] for name in known} == {name: ours[name] for name in known}
    metrics = {value for name, value in vars(semconv).items() if name.startswith("METRIC_")}
    assert len(metrics & set(published.values())) > 1


def test_records_have_no_field_that_could_hold_content() -> None:
    assert not {field.name for field in fields(AttemptRecord)} & {"body", "headers", "url", "path", "message", "prompt"}
