"""One span for a call, the SDK's own or else, where asked for, ours, and below it one for each attempt."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import sidecar
from sidecar.chaos import Chaos
from sidecar.client import install as seam
from sidecar.client.observer import Defaults
from sidecar.telemetry import Telemetry
from sidecar.telemetry.traces import Tracing


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
def traced(provider: TracerProvider) -> Iterator[Telemetry]:
    """Install with a provider of the test's own: the global one can be set only once in a process."""
    telemetry = Telemetry()
    seam._TRACINGS[telemetry] = Tracing(provider)
    sidecar.install(telemetry=telemetry)
    yield telemetry
    sidecar.uninstall()


def by_parent(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """Give the one span at the top, and those below it in the order they began."""
    spans = exporter.get_finished_spans()
    (top,) = [span for span in spans if span.parent is None]
    below = sorted((span for span in spans if span.parent is not None), key=lambda span: span.start_time or 0)
    assert top.context is not None
    assert all(span.parent is not None and span.parent.span_id == top.context.span_id for span in below)
    return top, below


def client_of(chaos: Chaos, provider: TracerProvider, *, own: bool) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url=chaos.url, api_key="k", open_telemetry={"tracer_provider": provider} if own else False
    )


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Defaults, "traces", True)


@pytest.mark.parametrize(("own", "asked"), [(True, None), (True, True), (False, True)])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_call_has_one_span_and_each_attempt_one_below_it(
    monkeypatch: pytest.MonkeyPatch,
    traced: Telemetry,
    chaos: Chaos,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
    ask: Any,
    fault: Any,
    *,
    own: bool,
    asked: bool | None,
    streamed: bool,
) -> None:
    monkeypatch.setattr(Defaults, "traces", asked)
    with client_of(chaos, provider, own=own) as client:
        if streamed:
            with client.messages.stream(**ask, **fault("529;retry-after-ms=1,ok")) as stream:
                stream.until_done()
        else:
            client.messages.create(**ask, **fault("529;retry-after-ms=1,ok"))
    truth = chaos.settled()
    top, attempts = by_parent(exporter)
    assert top.name == ("anthropic.messages.create" if own else f"chat {ask['model']}")
    assert [span.attributes and span.attributes["claude.outcome"] for span in attempts] == ["overloaded", "ok"]
    assert "claude.retry.wait" in [event.name for event in top.events]
    assert top.context is not None
    # What the server was told belongs to this very trace.
    assert {attempt.trace_id for attempt in truth} == {f"{top.context.trace_id:032x}"}
    assert traced.value("claude_calls_total", outcome="ok") == 1


@pytest.mark.usefixtures("asked_for")
def test_a_dropped_stream_ends_its_spans(
    traced: Telemetry, chaos: Chaos, provider: TracerProvider, exporter: InMemorySpanExporter, ask: Any, fault: Any
) -> None:
    with client_of(chaos, provider, own=False) as client:
        client.messages.create(**ask, **fault("stall;after=1"), stream=True)
    top, (attempt,) = by_parent(exporter)
    assert attempt.attributes is not None
    assert attempt.attributes["claude.outcome"] == "cancelled"
    assert top.end_time is not None


@pytest.mark.parametrize("by", ["option", "variable"])
def test_where_the_sdks_span_is_switched_off_there_is_none_unless_ours_is_asked_for(
    traced: Telemetry,
    chaos: Chaos,
    exporter: InMemorySpanExporter,
    ask: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    by: str,
) -> None:
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false" if by == "variable" else "true")
    option: Any = {"open_telemetry": False} if by == "option" else {}
    with anthropic.Anthropic(base_url=chaos.url, api_key="k", **option) as client:
        client.messages.create(**ask)
        assert exporter.get_finished_spans() == ()
        assert [attempt.trace_id for attempt in chaos.settled()] == [None]
        monkeypatch.setattr(Defaults, "traces", True)
        client.messages.create(**ask)
    top, attempts = by_parent(exporter)
    assert (top.name, len(attempts)) == (f"chat {ask['model']}", 1)
    assert traced.value("claude_calls_total", outcome="ok") == 2


def test_a_request_the_sdk_has_no_method_for_has_no_span_unless_ours_is_asked_for(
    traced: Telemetry,
    chaos: Chaos,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
    ask: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with client_of(chaos, provider, own=True) as client:
        client.post("/v1/messages", body=ask, cast_to=object)
        assert exporter.get_finished_spans() == ()
        monkeypatch.setattr(Defaults, "traces", True)
        client.post("/v1/messages", body=ask, cast_to=object)
    top, attempts = by_parent(exporter)
    assert (top.name, len(attempts)) == (f"chat {ask['model']}", 1)
    assert traced.value("claude_calls_total", outcome="ok") == 2


def test_switched_off_there_are_no_spans_of_ours(
    traced: Telemetry, chaos: Chaos, provider: TracerProvider, exporter: InMemorySpanExporter, ask: Any
) -> None:
    sidecar.configure(traces=False)
    try:
        for own in (True, False):
            with client_of(chaos, provider, own=own) as client:
                client.messages.create(**ask)
    finally:
        sidecar.configure()
    assert [span.name for span in exporter.get_finished_spans()] == ["anthropic.messages.create"]
    assert traced.value("claude_calls_total", outcome="ok") == 2


async def test_the_same_for_an_async_client(
    traced: Telemetry, chaos: Chaos, provider: TracerProvider, exporter: InMemorySpanExporter, ask: Any
) -> None:
    options: Any = {"tracer_provider": provider}
    async with (
        anthropic.AsyncAnthropic(base_url=chaos.url, api_key="k", open_telemetry=options) as client,
        client.messages.stream(**ask) as stream,
    ):
        await stream.until_done()
    top, (attempt,) = by_parent(exporter)
    assert top.name == "anthropic.messages.create"
    assert attempt.attributes is not None
    assert attempt.attributes["claude.outcome"] == "ok"


def test_each_telemetry_gets_its_tracing_once() -> None:
    telemetry = Telemetry()
    assert seam._tracing(telemetry) is seam._tracing(telemetry)
    assert seam._tracing(Telemetry()) is not seam._tracing(telemetry)
