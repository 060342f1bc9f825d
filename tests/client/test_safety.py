"""Nothing of ours reaches a call: whatever breaks in telemetry or tracing, the call is as it was, and says as much."""

import contextlib
import gc
import json
import weakref
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.chaos import Chaos
from sidecar.client import attempt as attempt_module
from sidecar.client.call import Call
from sidecar.client.install import _observer
from sidecar.client.observer import CURRENT, Observer
from sidecar.model import Outcome
from tests.client.cycles import BROKEN_CALLS_ARE_LEFT

CANARY = "CANARY-7f3a"


class Broken:
    """Telemetry that raises wherever it is touched, from a given depth on."""

    def __init__(self, seen: Any, *, what: str) -> None:
        self._seen = seen
        self._what = what
        self.told: list[str] = []

    @property
    def in_flight(self) -> Any:
        if self._what == "in_flight":
            raise OSError("disk full")
        return self._seen.in_flight

    def attempt(self, _: Any) -> None:
        if self._what == "attempt":
            raise OSError("disk full")

    def call(self, record: Any) -> None:
        if self._what == "call":
            raise BrokenPipeError("socket closed")
        self._seen.call(record)

    def internal_error(self, where: str, _: BaseException) -> None:
        self.told.append(where)
        raise RuntimeError("and this too")


@pytest.mark.parametrize("what", ["in_flight", "attempt", "call"])
def test_telemetry_that_raises_changes_nothing(
    what: str, seen: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    broken = Broken(seen, what=what)
    sidecar.instrument(sync_client, telemetry=broken)
    assert sync_client.messages.create(**ask).content
    with sync_client.messages.stream(**ask) as stream:
        assert stream.get_final_message().content
    with pytest.raises(anthropic.BadRequestError):
        sync_client.messages.create(**ask, extra_headers={"x-chaos": "400"})
    assert len(broken.told) >= 3
    assert len(seen.calls) == (3 if what == "attempt" else 0)


def test_a_scanner_that_fails_is_given_up_and_the_stream_goes_on(
    installed: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_: Any, __: bytes) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr("sidecar.wire.sse.SseScanner.feed", explode)
    with sync_client.messages.stream(**ask) as stream:
        assert stream.get_final_text()
    assert [where for where, _ in installed.faults] == ["client.reading"]
    assert len(installed.calls) == 1


async def test_the_same_for_an_async_stream(
    installed: Any, chaos: Chaos, async_client: anthropic.AsyncAnthropic, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_: Any, __: bytes) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr("sidecar.wire.sse.SseScanner.feed", explode)
    async with async_client as client, client.messages.stream(**ask) as stream:
        assert await stream.get_final_text()
    assert [where for where, _ in installed.faults] == ["client.reading"]
    assert len(installed.calls) == 1


@pytest.mark.parametrize("name", ["body_of", "parse_rate_limits"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_fault_of_ours_in_reading_a_response_is_reported_and_no_more(
    name: str,
    installed: Any,
    chaos: Chaos,
    sync_client: anthropic.Anthropic,
    ask: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    streamed: bool,
) -> None:
    def explode(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(attempt_module, name, explode)
    if streamed:
        assert len(list(sync_client.messages.create(**ask, stream=True))) > 3
    else:
        assert sync_client.messages.with_raw_response.create(**ask).parse().content
    assert {where for where, _ in installed.faults} <= {"client.responded", "client.reading", "client.whole"}
    assert installed.faults
    assert len(installed.calls) == len(installed.attempts) == 1


def test_a_fault_in_beginning_an_attempt_lets_the_request_pass(
    installed: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(Call, "attempt", explode)
    assert sync_client.messages.create(**ask).content
    assert [where for where, _ in installed.faults] == ["client.attempt"]
    assert installed.one.attempts == 0


class BrokenTracing:
    """A tracer that fails when it is asked for a span, or whenever the span is used."""

    active = True

    def __init__(self, *, late: bool) -> None:
        self.late = late

    def for_call(self, **_: Any) -> Any:
        if not self.late:
            raise ZeroDivisionError
        return self

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


@pytest.mark.parametrize("late", [False, True])
def test_a_broken_tracer_changes_nothing(
    seen: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any, *, late: bool
) -> None:
    sync_client.__dict__["_sidecar"] = Observer(telemetry=seen, tracing=BrokenTracing(late=late))
    sidecar.install(telemetry=seen)
    try:
        assert sync_client.messages.create(**ask).content
        assert list(sync_client.messages.create(**ask, stream=True))
        with pytest.raises(anthropic.RateLimitError):
            sync_client.with_options(max_retries=0).messages.create(**ask, extra_headers={"x-chaos": "429"})
    finally:
        sidecar.uninstall()
    assert seen.faults


def test_the_applications_exception_passes_through_unchanged(
    installed: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    error = KeyError("mine")

    def raise_it(_: Any, __: Any) -> Any:
        raise error

    with (
        pytest.raises(KeyError) as caught,
        anthropic.Anthropic(base_url=chaos.url, api_key="k", middleware=[raise_it]) as client,
    ):
        client.messages.create(**ask)
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert installed.one.outcome is Outcome.CLIENT_ERROR


def test_bodies_and_results_are_the_very_same(chaos: Chaos, seen: Any, ask: Any) -> None:
    chunks = [bytes([n]) * n for n in range(1, 50)]

    class Body(httpx2.SyncByteStream):
        def __iter__(self) -> Any:
            yield from chunks

    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, stream=Body()))
    with sidecar.Anthropic(api_key="k", http_client=httpx2.Client(transport=transport), telemetry=seen) as client:
        response: Any = client.post(
            "/v1/messages", body=ask, cast_to=httpx2.Response, stream=True, stream_cls=anthropic.Stream
        )
        assert [a is b for a, b in zip(response.iter_raw(), chunks, strict=True)] == [True] * len(chunks)
        assert response.elapsed.total_seconds() >= 0


PATHS: list[Callable[[anthropic.Anthropic, Any], Any]] = [
    lambda client, ask: client.messages.create(**ask),
    lambda client, ask: list(client.messages.create(**ask, stream=True)),
    lambda client, ask: client.messages.stream(**ask).__enter__().get_final_message(),
    lambda client, ask: client.messages.with_raw_response.create(**ask).parse(),
    lambda client, ask: client.messages.with_streaming_response.create(**ask).__enter__().read(),
    lambda client, ask: client.beta.messages.create(**ask),
    lambda client, ask: client.messages.count_tokens(messages=ask["messages"], model=ask["model"]),
    lambda client, ask: client.messages.batches.create(requests=[{"custom_id": "a", "params": ask}]),
    lambda client, _: client.messages.batches.retrieve(CANARY),
    lambda client, ask: client.messages.create(**{**ask, "model": 7, "max_tokens": "x"}),
]
FAULTS = ["ok", "400", "401", "429", "529", "malformed-json", "truncate;after=1", "error-event;after=1", "reset"]


@pytest.mark.parametrize("spec", FAULTS)
def test_no_secret_is_in_any_record_log_or_repr(
    spec: str, installed: Any, chaos: Chaos, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Put a canary everywhere a prompt, an answer, a tool's input or a key can be, and look for it everywhere."""
    caplog.set_level("DEBUG", logger="sidecar")
    secret = {
        **ask,
        "system": CANARY,
        "messages": [{"role": "user", "content": CANARY}],
        "metadata": {"user_id": CANARY},
        "tools": [{"name": CANARY, "input_schema": {"type": "object", "properties": {CANARY: {"type": "string"}}}}],
        "extra_headers": {"x-chaos": spec, "x-secret": CANARY},
    }
    with anthropic.Anthropic(base_url=chaos.url, api_key=CANARY, max_retries=0, timeout=5) as client:
        for path in PATHS:
            with contextlib.suppress(Exception):  # which one is the SDK's matter
                path(client, secret)
    told = [repr(installed.attempts), repr(installed.calls), repr(installed.faults), repr(_observer(installed, None))]
    assert installed.calls
    assert CANARY not in "".join(told)
    assert CANARY not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("sidecar"))


def test_an_answer_that_holds_secrets_everywhere_gives_none_away(seen: Any, ask: Any) -> None:
    events = [
        ("message_start", {"message": {"model": ask["model"], "id": CANARY, "usage": {"input_tokens": CANARY}}}),
        ("content_block_delta", {"delta": {"type": "text_delta", "text": CANARY}}),
        ("content_block_delta", {"delta": {"type": "input_json_delta", "partial_json": CANARY}}),
        ("error", {"error": {"type": "overloaded_error", "message": CANARY, "details": {"error_code": CANARY}}}),
    ]
    body = "".join(f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in events)
    replay = httpx2.MockTransport(
        lambda _: httpx2.Response(200, text=body, headers={"content-type": "text/event-stream"})
    )
    with sidecar.Anthropic(api_key=CANARY, http_client=httpx2.Client(transport=replay), telemetry=seen) as client:
        stream = client.messages.create(**ask, stream=True)
        with pytest.raises(anthropic.APIStatusError):
            list(stream)
        assert CANARY not in repr((seen.calls, seen.attempts, stream.response.stream, vars(stream.response.stream)))
    assert seen.one.outcome is Outcome.OVERLOADED


def test_calls_leave_nothing_to_the_garbage_collector(
    installed: Any, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any, born: list[weakref.ref[Call]]
) -> None:
    quiet = sync_client.with_options(max_retries=0)
    sync_client.messages.create(**ask)
    list(sync_client.messages.create(**ask, stream=True))
    with sync_client.messages.create(**ask, stream=True) as stream:  # the helper's own cycles are the SDK's matter
        next(iter(stream))
    del stream
    sync_client.messages.create(**ask, stream=True)  # dropped unread
    sync_client.messages.create(**ask, extra_headers={"x-chaos": "529;retry-after-ms=1,ok"})
    specs = ("529",) if BROKEN_CALLS_ARE_LEFT else ("529", "truncate", "reset")
    for spec in specs:
        with contextlib.suppress(anthropic.APIError):
            quiet.messages.create(**ask, extra_headers={"x-chaos": spec})
    assert len(born) == 5 + len(specs)
    assert [ref() for ref in born] == [None] * len(born)
    assert CURRENT.get() is None
    assert len(installed.calls) == len(born)


def test_hundreds_of_calls_and_dropped_streams_keep_no_memory(seen: Any, ask: Any) -> None:
    """The same with 100,000 is in ``benchmarks/bench_client.py --soak 100000``."""
    import tracemalloc

    def handle(request: httpx2.Request) -> httpx2.Response:
        if b'"stream":true' in request.content:
            return httpx2.Response(200, stream=httpx2.ByteStream(b"event: ping\ndata: {}\n\n"))
        return httpx2.Response(200, json={"type": "message", "content": [], "usage": {"input_tokens": 1}})

    class Counting:
        in_flight = seen.in_flight
        calls = 0

        def attempt(self, _: Any) -> None:
            pass

        def call(self, _: Any) -> None:
            self.calls += 1

        def internal_error(self, where: str, error: BaseException) -> None:
            raise AssertionError(where) from error

    counting = Counting()
    http = httpx2.Client(transport=httpx2.MockTransport(handle))
    with sidecar.Anthropic(api_key="k", http_client=http, telemetry=counting) as client:

        def work(times: int) -> None:
            for number in range(times):
                client.messages.create(**ask)
                if number % 10 == 0:
                    client.messages.create(**ask, stream=True)

        work(50)
        gc.collect()
        tracemalloc.start()
        try:
            work(100)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            work(300)
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    assert counting.calls == 450 + 45
    assert grown < 50_000
