"""Spans of what passes the proxy: under the client's trace where it has one, under a span of the call's own else."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Generic, TypeVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sidecar.proxy import traces
from sidecar.proxy.traces import CallSpans, Traces, open_traces
from sidecar.telemetry import Telemetry
from sidecar.telemetry.traces import Tracing
from tests.outlets.otlp import collector
from tests.proxy.kit import answer
from tests.proxy.memory import Conversation
from tests.proxy.protected import Protected
from tests.proxy.protected import ask as protected_ask
from tests.proxy.test_observe import JSON, MESSAGE, SDK, ask

PARENT = b"traceparent: 00-%b-%b-01\r\n" % (b"a" * 32, b"b" * 16)


Talk = TypeVar("Talk", bound=Conversation)


class Traced(Generic[Talk]):
    """A conversation whose spans are kept."""

    def __init__(self, talk: type[Talk]) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.spans = CallSpans(Tracing(self.provider))
        self.talk = talk(spans=self.spans)
        self.talk.telemetry.add_sink(self.spans)

    def end(self) -> list[ReadableSpan]:
        self.talk.__exit__()
        assert self.talk.telemetry.value("sidecar_internal_errors_total") == 0
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def traced() -> Iterator[Traced[Conversation]]:
    traced = Traced(Conversation)
    yield traced
    traced.provider.shutdown()


def test_an_attempt_stands_under_the_clients_span_whose_header_passes_unchanged(traced: Traced[Conversation]) -> None:
    traced.talk.say(ask(headers=SDK % 0 + PARENT))
    assert PARENT in bytes(traced.talk.upstreams[0][1].written)
    traced.talk.reply(answer(MESSAGE, JSON))
    (span,) = traced.end()
    assert span.name == "POST /v1/messages"
    assert span.parent is not None
    assert (f"{span.parent.trace_id:x}", f"{span.parent.span_id:x}") == ("a" * 32, "b" * 16)


def test_a_call_without_a_trace_has_a_span_of_its_own_over_all_its_attempts(traced: Traced[Conversation]) -> None:
    traced.talk.say(ask())
    assert b"traceparent" not in bytes(traced.talk.upstreams[0][1].written)
    traced.talk.reply(answer(b"{}", JSON, status=b"529 Overloaded"))
    traced.talk.now += 1
    traced.talk.say(ask(headers=SDK % 1))
    traced.talk.reply(answer(MESSAGE, JSON))
    first, second, call = traced.end()
    assert call.name == "chat claude-sonnet-5"
    assert call.parent is None
    assert [event.name for event in call.events] == ["claude.retry.wait"]
    for attempt in (first, second):
        assert attempt.parent is not None
        assert attempt.parent.span_id == call.context.span_id


def test_the_attempts_of_a_protected_call_stand_under_its_span() -> None:
    traced = Traced(Protected)
    traced.talk.say(protected_ask())
    traced.talk.reply(answer(b"{}", JSON, status=b"529 Overloaded"))
    traced.talk.wait(1.1)
    traced.talk.reply(answer(MESSAGE, JSON))
    first, second, call = traced.end()
    traced.provider.shutdown()
    assert call.name == "chat claude-sonnet-5"
    assert call.parent is None
    assert [event.name for event in call.events] == ["claude.retry.wait"]
    for attempt in (first, second):
        assert attempt.parent is not None
        assert attempt.parent.span_id == call.context.span_id


def test_the_attempts_of_a_protected_call_stand_under_the_clients_span() -> None:
    traced = Traced(Protected)
    traced.talk.say(protected_ask(headers=SDK % 0 + PARENT))
    traced.talk.reply(answer(MESSAGE, JSON))
    (span,) = traced.end()
    traced.provider.shutdown()
    assert span.parent is not None
    assert f"{span.parent.span_id:x}" == "b" * 16


def test_a_call_that_is_refused_ends_its_span(traced: Traced[Conversation]) -> None:
    traced.talk.say(ask()[:-5])
    traced.talk.leave()
    attempts = [span for span in traced.end() if span.name.startswith("POST")]
    assert len(attempts) <= 1
    assert not traced.spans._spans


def test_the_spans_under_way_are_bounded(traced: Traced[Conversation], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MAX_CALLS", 0)
    traced.talk.say(ask())
    traced.talk.reply(answer(MESSAGE, JSON))
    assert [span.name for span in traced.end()] == ["POST /v1/messages"]


def test_nothing_begins_while_nobody_traces() -> None:
    spans = CallSpans(Tracing())
    talk = Conversation(spans=spans)
    talk.telemetry.add_sink(spans)
    talk.say(ask())
    talk.reply(answer(MESSAGE, JSON))
    talk.__exit__()
    assert talk.records.calls[0].trace is None


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_TRACES_EXPORTER": "console"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_no_traces_are_sent_unless_the_environment_asks_for_them(environ: dict[str, str]) -> None:
    assert open_traces(Telemetry(), environ) is None


def test_spans_go_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collected.traces_url)
        with Conversation() as talk:
            opened = open_traces(talk.telemetry, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collected.traces_url})
            assert isinstance(opened, Traces)
            talk.say(ask())
            talk.reply(answer(MESSAGE, JSON))
        opened.close()
        assert [span.name for span in collected.spans] == ["POST /v1/messages"]


def test_a_missing_exporter_is_said_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert open_traces(Telemetry(), {"OTEL_TRACES_EXPORTER": "otlp"}) is None
    assert "claude-sidecar[otlp]" in caplog.text


def test_the_proxy_does_not_load_opentelemetry_by_itself() -> None:
    code = "import sys, sidecar.proxy.run; sys.exit('opentelemetry' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
