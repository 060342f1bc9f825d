"""Where a policy meets the SDK: what it writes there, what it leaves alone, and what of one it does not know."""

import io
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.chaos import Chaos
from sidecar.client import driving
from sidecar.client.imposed import ImposedCount, ImposedRetries, ImposedTimeout, impose
from sidecar.client.observer import CURRENT, Observer
from sidecar.model import Outcome, Phase, RetryResult, TraceRef
from sidecar.policy import NO_HINTS, Retry, Send, Timeouts
from tests.client.survive import KINDS, Kind, Sync, policy, touchy

pytestmark = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def faulty(ask: dict[str, Any], spec: str) -> dict[str, Any]:
    return {**ask, "extra_headers": {"x-chaos": spec}}


def answered_by(kind: Kind, answer: Callable[[httpx2.Request], httpx2.Response]) -> Any:
    transport = httpx2.MockTransport(answer)
    return httpx2.Client(transport=transport) if kind.name == "sync" else httpx2.AsyncClient(transport=transport)


def test_the_inner_method_of_this_sdk_is_known(kind: Kind) -> None:
    """On the oldest and on the newest: else a call would be traced as several."""
    from anthropic._base_client import AsyncAPIClient, SyncAPIClient

    assert driving.inner_method(SyncAPIClient if kind.name == "sync" else AsyncAPIClient) == "_request"


@pytest.mark.parametrize("body", ["without", "other parameters"])
def test_of_an_sdk_that_looks_different_the_outer_one_is_taken(kind: Kind, body: str) -> None:
    other = {"_request": lambda _: None} if body == "other parameters" else {}
    assert driving.inner_method(type("Client", (), other)) == "request"


@pytest.mark.parametrize("spec", ["529 x1", "reset x1"])
def test_an_sdk_that_looks_different_is_driven_from_outside(
    kind: Kind, seen: Any, chaos: Chaos, ask: Any, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "inner_method", lambda _: "request")
    given = faulty(ask, spec)
    kind.create(kind.client(seen, chaos.url, policy=policy(), max_retries=0), given)
    assert kind.read(kind.client(seen, chaos.url, policy=policy(), max_retries=0), given)
    seen.agree(chaos, calls=2)
    assert [call.attempts for call in seen.calls] == [2, 2]
    assert [call.retry_result for call in seen.calls] == [RetryResult.RECOVERED] * 2


def test_one_shot_input_is_read_once_and_sent_whole_each_time(kind: Kind, seen: Any, ask: Any) -> None:
    bodies = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.content)
        return httpx2.Response(529)

    client = kind.client(seen, "http://test", policy=policy(), http_client=answered_by(kind, answer))
    with pytest.raises(anthropic.APIStatusError):
        kind.create(client, {**ask, "messages": iter(ask["messages"])})
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert b'"Hi"' in bodies[0]


@pytest.mark.parametrize(
    ("content", "sent"),
    [(b"{}", 3), (io.BytesIO(b"{}"), 1), (iter([b"{}"]), 1)],
    ids=["bytes", "a file", "an iterator"],
)
def test_a_body_that_can_be_read_only_once_is_not_sent_twice(kind: Kind, seen: Any, content: Any, sent: int) -> None:
    requests = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(529)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = Sync().client(seen, "http://test", policy=policy(), http_client=http)
    with client, pytest.raises(anthropic.APIStatusError):
        client.post("/v1/files", cast_to=httpx2.Response, content=content)
    assert len(requests) == sent


def test_further_pages_begin_anew(kind: Kind, seen: Any) -> None:
    """The SDK makes their options of the first page's, which hold what was imposed on that."""
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        if len(requests) % 2:
            return httpx2.Response(529)
        model = {"id": f"m{len(requests)}", "type": "model", "display_name": "M", "created_at": "2026-01-01T00:00:00Z"}
        more = len(requests) < 4
        return httpx2.Response(200, json={"data": [model], "has_more": more, "last_id": model["id"], "first_id": "m"})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    limited = policy(timeouts={"first_byte": 12.0})
    with Sync().client(seen, "http://test", policy=limited, http_client=http) as client:
        assert [model.id for model in client.models.list()] == ["m2", "m4"]
    assert [request.headers["x-stainless-retry-count"] for request in requests] == ["0", "1", "0", "1"]
    assert [request.headers["x-stainless-read-timeout"] for request in requests] == ["12.0"] * 4
    assert [call.attempts for call in seen.calls] == [2, 2]


def test_what_the_application_gave_can_be_told_from_what_was_imposed(kind: Kind) -> None:
    from anthropic._models import FinalRequestOptions

    options = FinalRequestOptions.construct(method="post", url="/", timeout=7.0, max_retries=4)
    for number in (0, 2, 0):
        impose(options, Send(number, Timeouts(first_byte=9.0)))
        assert isinstance(options.timeout, ImposedTimeout)
        assert isinstance(options.max_retries, ImposedRetries)
        assert (options.timeout.read, options.timeout.given) == (9.0, 7.0)
        assert (options.max_retries, options.max_retries.given) == (0, 4)
        headers: Any = options.headers
        count = headers.get("x-stainless-retry-count") if isinstance(headers, dict) else None
        assert count == ("2" if number else None)
    options.headers = {"x-stainless-retry-count": "7"}
    impose(options, Send(1, Timeouts()))
    assert options.headers == {"x-stainless-retry-count": "7"}
    assert not isinstance(options.headers["x-stainless-retry-count"], ImposedCount)


def test_a_raw_response_says_how_many_attempts_came_before_it(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    with Sync().client(seen, chaos.url, policy=policy()) as client:
        raw = client.messages.with_raw_response.create(**faulty(ask, "529,529,ok"))
        assert raw.retries_taken == 2
        assert raw.parse().stop_reason == "end_turn"
    seen.agree(chaos, calls=1)


def test_an_error_made_to_be_retried_is(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    """The SDK's middleware may ask for another attempt by raising ``RetryableError``."""
    asked = []

    def check(response: Any) -> Any:
        asked.append(response)
        if len(asked) == 1:
            raise anthropic.RetryableError("not what was wanted")
        return response

    def sync_middleware(request: Any, call_next: Any) -> Any:
        return check(call_next(request))

    async def async_middleware(request: Any, call_next: Any) -> Any:
        return check(await call_next(request))

    middleware = [sync_middleware if kind.name == "sync" else async_middleware]
    kind.create(kind.client(seen, chaos.url, policy=policy(), middleware=middleware), ask)
    assert [each.retry_count for each in seen.agree(chaos, calls=1)] == [0, 1]


def test_what_fails_before_it_is_sent_is_tried_again_too(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    """As the SDK does it: a connection error is one wherever it comes from."""
    failures = [anthropic.APIConnectionError(request=httpx2.Request("POST", "http://test"))]

    def sync_middleware(request: Any, call_next: Any) -> Any:
        if failures:
            raise failures.pop()
        return call_next(request)

    async def async_middleware(request: Any, call_next: Any) -> Any:
        if failures:
            raise failures.pop()
        return await call_next(request)

    middleware = [sync_middleware if kind.name == "sync" else async_middleware]
    kind.create(kind.client(seen, chaos.url, policy=policy(breaker=touchy(consecutive=9)), middleware=middleware), ask)
    assert len(chaos.settled()) == 1
    assert (seen.one.outcome, seen.one.attempts) == (Outcome.OK, 1)


def test_a_token_that_was_refused_is_renewed_once(kind: Kind) -> None:
    response = httpx2.Response(401, request=httpx2.Request("POST", "http://test"))
    error = anthropic.AuthenticationError("no", response=response, body=None)
    asked = []

    class Client:
        def _should_retry(self, response: httpx2.Response) -> bool:
            asked.append(response)
            return len(asked) == 1

    client = Client()
    assert driving.asked_by(error, client, lambda: 0.0)[0].should_retry is True
    assert driving.asked_by(error, client, lambda: 0.0)[0].should_retry is None
    error.__cause__ = error  # a chain may be a ring
    assert driving.asked_by(ValueError(), client, lambda: 0.0) == (NO_HINTS, False)


def test_a_fault_of_ours_costs_the_policy_not_the_call(
    kind: Kind, seen: Any, chaos: Chaos, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Observer) -> None:
        raise RuntimeError

    monkeypatch.setattr(driving, "in_force", broken)
    kind.create(kind.client(seen, chaos.url, policy=policy(), max_retries=1), faulty(ask, "529 x1"))
    assert [where for where, _ in seen.faults] == ["client.policy"]
    assert (seen.one.attempts, seen.one.outcome) == (2, Outcome.OK)


def test_a_fault_of_ours_at_the_end_costs_no_record(
    kind: Kind, seen: Any, chaos: Chaos, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sidecar.client.survival import Survival

    def broken(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(Survival, "ended", broken)
    kind.create(kind.client(seen, chaos.url, policy=policy()), ask)
    assert [where for where, _ in seen.faults] == ["client.survival"]
    assert seen.one.outcome is Outcome.OK


def test_another_clients_requests_in_the_same_context_are_left_alone(kind: Kind, seen: Any, chaos: Chaos) -> None:
    with httpx2.Client() as http:
        assert CURRENT.get() is None
        response = http.get(f"{chaos.url}/v1/models", headers={"x-api-key": "k"}, timeout=9.0)
    assert type(response.request.extensions["timeout"]) is dict


def test_a_pool_without_a_free_connection_is_told(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    limits = httpx2.Limits(max_connections=1)
    http = httpx2.Client(limits=limits)
    limited = policy(timeouts={"pool": 0.1}, retry=Retry(max_attempts=1))
    with Sync().client(seen, chaos.url, policy=limited, http_client=http) as client:
        stream = client.messages.create(**faulty(ask, "stall;after=1;s=9"), stream=True)
        with stream, pytest.raises(anthropic.APITimeoutError):
            client.messages.create(**ask)
    assert (seen.calls[0].outcome, seen.calls[0].phase) == (Outcome.TIMEOUT, Phase.POOL)


def test_a_server_that_does_not_take_the_request_is_told(kind: Kind, seen: Any, ask: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        limited = policy(timeouts={"write": 0.3, "connect": 20.0}, retry=Retry(max_attempts=1))
        big = {**ask, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
        with pytest.raises(anthropic.APITimeoutError):
            kind.create(kind.client(seen, url, policy=limited), big)
    assert (seen.one.outcome, seen.one.phase) == (Outcome.TIMEOUT, Phase.WRITE)


@pytest.mark.parametrize(("limits", "phase"), [({"connect": 2.0}, Phase.CONNECT), ({"total": 1.0}, Phase.DEADLINE)])
def test_a_connection_that_is_not_made_is_told(kind: Kind, seen: Any, ask: Any, limits: Any, phase: Phase) -> None:
    """And each phase gets what is left of the call: a transport asks when it begins."""
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.extensions["timeout"].get("connect"))
        raise httpx2.ConnectTimeout("no", request=request)

    limited = policy(timeouts=limits, retry=Retry(max_attempts=1))
    client = kind.client(seen, "http://test", policy=limited, http_client=answered_by(kind, answer))
    with pytest.raises(anthropic.APITimeoutError):
        kind.create(client, ask)
    assert (seen.one.outcome, seen.one.phase) == (Outcome.TIMEOUT, phase)
    assert asked[0] <= next(iter(limits.values()))


class Span:
    """Notes what it is told of a call."""

    ref = TraceRef(trace_id="1" * 32, span_id="2" * 16)
    open = True

    def __init__(self) -> None:
        self.told: list[Any] = []

    def attempt(self, record: Any) -> None:
        self.told.append(("attempt", record.outcome.value))

    def headers(self) -> dict[str, str]:
        return {}

    def waited(self, wait: Any) -> None:
        self.told.append(("waited", wait.completed))

    def rejected(self, breaker: str, retry_after: float | None = None) -> None:
        self.told.append(("rejected", breaker, retry_after is not None))

    def end(self, record: Any) -> None:
        self.told.append(("ended", record.outcome.value))


def test_the_span_of_a_call_is_told_of_its_rejection(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    spans: list[Span] = []

    class Tracing:
        active = True

        def for_call(self, **_: Any) -> Span:
            spans.append(Span())
            return spans[-1]

    def client() -> Any:
        made = kind.client(seen, chaos.url, policy=policy(breaker=touchy()))
        made.__dict__["_sidecar"] = replace(made.__dict__["_sidecar"], tracing=Tracing())
        return made

    with pytest.raises(anthropic.APIStatusError):
        kind.create(client(), faulty(ask, "529"))
    with pytest.raises(sidecar.BreakerOpen):
        kind.create(client(), ask)
    name = f"127.0.0.1/{ask['model']}"
    assert [span.told for span in spans] == [
        [("attempt", "overloaded"), ("ended", "overloaded")],
        [("rejected", name, True), ("ended", "rejected")],
    ]


@pytest.mark.parametrize(
    ("spec", "stream"),
    [("529,529,ok", False), ("529,529,ok", True), ("error-event;after=0,error-event;after=0,ok", True)],
)
def test_the_sdks_span_stays_one_and_has_a_child_for_each_attempt(
    kind: Kind, chaos: Chaos, ask: Any, spec: str, *, stream: bool
) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from sidecar.telemetry import Telemetry
    from sidecar.telemetry.traces import Tracing

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry()
    tracing = Tracing(provider)
    client = kind.client(telemetry, chaos.url, policy=policy(), open_telemetry={"tracer_provider": provider})
    client.__dict__["_sidecar"] = replace(client.__dict__["_sidecar"], tracing=tracing)
    (kind.read if stream else kind.create)(client, faulty(ask, spec))
    spans = exporter.get_finished_spans()
    (call,) = [span for span in spans if span.parent is None]
    attempts = [span for span in spans if span.parent is not None and span.parent.span_id == call.context.span_id]
    assert call.instrumentation_scope is not None
    assert "anthropic" in call.instrumentation_scope.name
    assert [(span.attributes or {}).get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [event.name for event in call.events].count("claude.retry.wait") == 2
    assert len(spans) == 4


def test_a_thread_that_calls_within_a_call_is_a_call_of_its_own(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    client = Sync().client(seen, chaos.url, policy=policy())
    done: list[Any] = []

    def messages() -> Iterator[Any]:
        thread = threading.Thread(target=lambda: done.append(client.messages.create(**ask)))
        thread.start()
        thread.join()
        yield from ask["messages"]

    with client:
        client.messages.create(**{**ask, "messages": messages()})
    assert len(done) == 1
    seen.agree(chaos, calls=2)
