"""Long answers give nothing away: what was asked, said and keyed is in no span, record, log line, text or repr."""

import asyncio
import json
import logging
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import anthropic
import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import sidecar
from sidecar.client import install as seam
from sidecar.client.observer import Defaults
from sidecar.model import Outcome
from sidecar.telemetry.traces import Tracing
from tests.client.long_events import block, delta, end, finish, said, start, text, thinks
from tests.client.survive import policy
from tests.client.test_survive_openings import Answers
from tests.client.test_survive_streams import GZIP, Body, packed, sse

CANARY = "CANARY-7f3a"
PIECES = [CANARY[:5], CANARY[5:], f" {CANARY}"]
TOOL = {"type": "tool_use", "id": CANARY, "name": CANARY, "input": {}}

BEGUN = [start(), block(0, text()), *[said(0, piece) for piece in PIECES]]
THOUGHT = [start(), *thinks(0), block(1, text(CANARY)), said(1, CANARY)]
WHOLE = [*BEGUN, end(0), *finish("end_turn")]
CUT_SHORT = [*BEGUN, end(0), *finish("max_tokens")]
USING = [
    start(),
    block(0, TOOL),
    delta(0, "input_json_delta", "partial_json", json.dumps({CANARY: CANARY})),
    end(0),
    *finish("tool_use"),
]
FAILING = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": CANARY, "details": {"error_code": CANARY}},
}
NOT_JSON = b'event: content_block_delta\ndata: {"CANARY-7f3a\n\n'
TURNED = [start(), block(3, text(CANARY)), said(9, CANARY)]

SCRIPTS: dict[str, Sequence[Any]] = {
    "whole": [sse(*WHOLE)],
    "continued": [sse(*CUT_SHORT), sse(*WHOLE)],
    "resumed": [sse(*BEGUN), sse(*WHOLE)],
    "resumed after thinking": [sse(*THOUGHT), sse(*WHOLE)],
    "broken for good": [sse(*BEGUN)],
    "reset": [lambda: Body(sse(*BEGUN), httpx2.ReadError("reset"))],
    "silent": [lambda: Body(sse(*BEGUN), httpx2.ReadTimeout("silent"))],
    "an error in it": [sse(*BEGUN, FAILING)],
    "an error first": [sse(FAILING), sse(*WHOLE)],
    "a tool": [sse(*USING)],
    "half a tool": [sse(*USING[:3])],
    "no JSON": [[*sse(*BEGUN), NOT_JSON]],
    "contradictory": [sse(*TURNED)],
    "no stream": [[json.dumps({"content": CANARY, "error": CANARY}).encode()]],
}
PACKED: dict[str, Sequence[Any]] = {
    "damaged": [[packed(*BEGUN), b"\xff" * 20]],
    "packed": [[packed(*BEGUN)], [packed(*WHOLE)]],
}


def ask(client: Any, how: str) -> Any:
    """Ask for a long answer with a secret everywhere one can be; give what comes of it."""
    asked: dict[str, Any] = {
        "model": "m",
        "max_tokens": 64,
        "system": CANARY,
        "messages": [{"role": "user", "content": CANARY}],
        "metadata": {"user_id": CANARY},
        "tools": [{"name": CANARY, "input_schema": {"type": "object", "properties": {CANARY: {"type": "string"}}}}],
        "stop_sequences": [CANARY],
        "extra_headers": {"x-secret": CANARY},
    }
    if how == "underneath":
        return client.messages.create(**asked)
    if how == "complete":
        return sidecar.complete(client, **asked, max_turns=2, prompt=CANARY)
    return client.messages.stream(**asked, resume=sidecar.Resume(max_turns=2, prompt=CANARY))


def read_sync(client: Any, how: str, shown: list[Any]) -> None:
    got = ask(client, how)
    shown.append(got if how != "underneath" else None)  # a message shows what it says: it is the SDK's
    if how == "stream":
        with got as stream:
            shown.extend([stream, vars(stream)["_raw_stream"]])
            for event in stream:
                del event


async def read_async(client: Any, how: str, shown: list[Any]) -> None:
    got = ask(client, how)
    if how != "stream":
        got = await got
    shown.append(got if how != "underneath" else None)
    if how == "stream":
        async with got as stream:
            shown.extend([stream, vars(stream)["_raw_stream"]])
            async for event in stream:
                del event


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    monkeypatch.setattr(Defaults, "traces", True)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def chained(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__


def texts_of(error: BaseException) -> Iterator[str]:
    """Give all that an error shows by itself. What the server said stands in the SDK's own, which are not ours."""
    for each in chained(error):
        if not isinstance(each, anthropic.APIStatusError):
            yield from (str(each), repr(each), repr(each.args), *traceback.format_exception_only(each))
            yield repr(getattr(each, "partial", None))


def shown_by(span: ReadableSpan) -> str:
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    return repr((span.name, dict(span.attributes or {}), events, span.status.description, span.resource, span.links))


@pytest.mark.parametrize(("kind", "own"), [("sync", True), ("async", False)], ids=["sync-SDK's span", "async-ours"])
@pytest.mark.parametrize("how", ["complete", "stream", "underneath"])
def test_nothing_of_a_long_answer_is_told(
    how: str,
    kind: str,
    seen: Any,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
    *,
    own: bool,
) -> None:
    caplog.set_level(logging.DEBUG, logger="sidecar")
    seam._TRACINGS[seen.telemetry] = Tracing(provider)
    shown: list[str] = []
    failed = 0
    scripts: list[tuple[Sequence[Any], dict[str, str]]] = [(script, {}) for script in SCRIPTS.values()]
    scripts += [(script, GZIP) for script in PACKED.values()]
    policies = [policy(stream_underneath=True)] if how == "underneath" else [None, policy()]
    for chosen in policies:
        for script, headers in scripts:
            answers = Answers(*[body() if callable(body) else body for body in script], **headers)
            error = run(kind, how, answers, own=own, provider=provider, seen=seen, chosen=chosen, shown=shown)
            if error is not None:
                failed += 1
                shown.extend(texts_of(error))
    assert failed >= 8  # what breaks off for good
    assert len(seen.calls) >= len(policies) * len(scripts)
    assert {Outcome.OK, Outcome.OVERLOADED, Outcome.SERVER_ERROR} <= {call.outcome for call in seen.calls}
    shown += map(repr, (*seen.calls, *seen.attempts, *seen.faults))
    shown += [record.getMessage() + repr(record.args) for record in caplog.records if record.name.startswith("sidecar")]
    spans = exporter.get_finished_spans()
    assert len(spans) > len(seen.attempts)
    assert any(event.name == "claude.first_token" for span in spans for event in span.events)
    shown += map(shown_by, spans)
    shown.append(repr(seen.telemetry.snapshot()))
    told = [text for text in shown if any(piece in text for piece in (CANARY, CANARY[5:], "partial_json"))]
    assert told == []


def run(
    kind: str,
    how: str,
    answers: Answers,
    *,
    own: bool,
    provider: TracerProvider,
    seen: Any,
    chosen: Any,
    shown: list[str],
) -> BaseException | None:
    """Ask once; give the error that comes of it."""
    traced: Any = {"tracer_provider": provider} if own else False
    given: dict[str, Any] = {"api_key": CANARY, "base_url": "http://test", "max_retries": 0, "open_telemetry": traced}
    transport = httpx2.MockTransport(answers)
    got: list[Any] = []

    async def reading() -> None:
        async with anthropic.AsyncAnthropic(**given, http_client=httpx2.AsyncClient(transport=transport)) as client:
            sidecar.instrument(client, telemetry=seen.telemetry, policy=chosen)
            client.__dict__["_sidecar"] = _reporting(client, seen)
            await read_async(client, how, got)

    try:
        if kind == "async":
            asyncio.run(reading())
        else:
            with anthropic.Anthropic(**given, http_client=httpx2.Client(transport=transport)) as client:
                sidecar.instrument(client, telemetry=seen.telemetry, policy=chosen)
                client.__dict__["_sidecar"] = _reporting(client, seen)
                read_sync(client, how, got)
    except Exception as error:  # noqa: BLE001  # which one is not the question here
        return error
    finally:
        shown.extend(map(repr, got))
    return None


def _reporting(client: Any, seen: Any) -> Any:
    """Have it report to who keeps the records, and still be traced."""
    return replace(client.__dict__["_sidecar"], telemetry=seen)
