"""How a stream begins under a policy: an error before the first token is tried again, and nothing is lost."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import httpx2
import pytest

from sidecar.chaos import Chaos
from sidecar.client import openings
from sidecar.client.call import Call
from sidecar.client.errors import StreamInterrupted
from sidecar.model import Outcome, Phase, RetryResult
from sidecar.policy import BudgetConfig, Retry
from sidecar.wire.frames import FRAMED
from tests.client.cycles import BROKEN_CALLS_ARE_LEFT
from tests.client.survive import KINDS, Kind, Waits, policy, touchy, waiting
from tests.client.test_survive_streams import BLOCK, DELTA, GZIP, START, STOP, Body, packed, sse

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)

PING: dict[str, Any] = {"type": "ping"}
WHOLE: list[dict[str, Any]] = [START, BLOCK, DELTA, DELTA, STOP]


def error(kind: str = "overloaded_error") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": "Overloaded"}}


class Answers:
    """A transport that gives one answer after the other, the last again and again, and keeps what it was asked."""

    def __init__(self, *bodies: Any, **headers: str) -> None:
        self._bodies = [Body(body) if isinstance(body, list) else body for body in bodies]
        self._headers = {"content-type": "text/event-stream", **headers}
        self.asked: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        number = len(self.asked)
        self.asked.append(request)
        body = self._bodies[min(number, len(self._bodies) - 1)]
        return httpx2.Response(200, headers={**self._headers, "request-id": f"req_{number}"}, stream=body)

    def client(self, kind: Kind, seen: Any, chosen: Any, **more: Any) -> Any:
        transport = httpx2.MockTransport(self)
        http = httpx2.Client(transport=transport) if kind.name == "sync" else httpx2.AsyncClient(transport=transport)
        return kind.client(seen, "http://test", policy=chosen, http_client=http, **more)


def open_then_read(kind: Kind, client: Any, ask: Any, got: list[Any]) -> None:
    """Keep what is got on the way: first the stream, then its events."""

    async def run() -> None:
        async with client:
            got.append(await client.messages.create(**ask, stream=True))
            async for event in got[0]:
                got.append(event)  # noqa: PERF401  # also what came before it broke

    if kind.name != "sync":
        asyncio.run(run())
        return
    with client:
        got.append(client.messages.create(**ask, stream=True))
        for event in got[0]:
            got.append(event)  # noqa: PERF402  # the same


@each_kind
@pytest.mark.parametrize(
    ("chunks", "headers"),
    [
        (sse(error()), {}),
        (sse(PING, error()), {}),
        (sse(START, BLOCK, error()), {}),
        ([b"".join(sse(START, error()))], {}),
        ([b"".join(sse(START, BLOCK, PING))[:-1], b"\n", *sse(error())], {}),
        ([bytes([byte]) for byte in b"".join(sse(START, error()))], {}),
        ([event.replace(b"\n", b"\r\n") for event in sse(START, error())], {}),
        ([packed(START, error())], GZIP),
        (sse(START, error()), {"content-encoding": "identity"}),
    ],
    ids=["first", "after a ping", "before a token", "in one chunk", "cut", "byte by byte", "CRLF", "gzip", "identity"],
)
def test_an_error_before_the_first_token_is_tried_again(
    kind: Kind, seen: Any, ask: Any, chunks: list[bytes], headers: dict[str, str]
) -> None:
    whole = [packed(*WHOLE)] if headers is GZIP else sse(*WHOLE)
    answers = Answers(chunks, whole, **headers)
    events = kind.read(answers.client(kind, seen, policy()), ask)
    assert [event.type for event in events] == [event["type"] for event in WHOLE]
    assert [request.headers.get("x-stainless-retry-count") for request in answers.asked] == ["0", "1"]
    assert seen.faults == []
    assert (seen.one.outcome, seen.one.attempts, seen.one.retry_result) == (Outcome.OK, 2, RetryResult.RECOVERED)
    assert [wait.reason for wait in seen.one.waits] == [Outcome.OVERLOADED]
    first, second = seen.attempts
    assert (first.outcome, first.error_type, first.status) == (Outcome.OVERLOADED, "overloaded_error", 200)
    assert (first.request_id, first.first_token) == ("req_0", None)
    assert (second.outcome, second.number, second.request_id) == (Outcome.OK, 1, "req_1")
    assert second.first_token is not None
    assert second.first_byte is not None
    assert second.first_byte <= second.first_token


def test_what_a_response_measured_is_still_there(seen: Any, chaos: Chaos, ask: Any) -> None:
    with KINDS[0].client(seen, chaos.url, policy=policy()) as client:
        stream = client.messages.create(**ask, stream=True)
        assert list(stream)
    assert stream.response.elapsed.total_seconds() >= 0


@each_kind
def test_over_real_connections_it_is_tried_again_too(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    chaos.enqueue("error-event;after=0,error-event;after=0,ok")
    assert kind.read(kind.client(seen, chaos.url, policy=policy()), ask)[-1].type == "message_stop"
    seen.agree(chaos, calls=1)
    assert (seen.one.attempts, seen.one.retry_result) == (3, RetryResult.RECOVERED)
    assert seen.telemetry.value("claude_retries_total", reason="overloaded") == 2


@each_kind
@pytest.mark.parametrize(
    ("kind_of_error", "chosen", "sent", "outcome", "result"),
    [
        ("overloaded_error", {}, 3, Outcome.OVERLOADED, RetryResult.EXHAUSTED),
        ("api_error", {}, 3, Outcome.SERVER_ERROR, RetryResult.EXHAUSTED),
        ("overloaded_error", {"retry": Retry(max_attempts=1)}, 1, Outcome.OVERLOADED, None),
        ("invalid_request_error", {}, 1, Outcome.CLIENT_ERROR, None),
        ("overloaded_error", {"breaker": touchy()}, 1, Outcome.OVERLOADED, None),
        ("overloaded_error", {"retry_budget": BudgetConfig(ratio=0, min_per_second=0)}, 1, Outcome.OVERLOADED, None),
    ],
    ids=["always", "unknown", "one attempt", "not in the table", "breaker", "budget"],
)
def test_where_it_is_not_tried_again_the_stream_says_it_as_ever(
    kind: Kind,
    seen: Any,
    ask: Any,
    kind_of_error: str,
    chosen: Any,
    sent: int,
    outcome: Outcome,
    result: RetryResult | None,
) -> None:
    """It is handed over with its error in it, which the SDK makes of its own type where it is read."""
    answers = Answers(sse(START, error(kind_of_error)))
    got: list[Any] = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        open_then_read(kind, answers.client(kind, seen, policy(**chosen)), ask, got)
    assert [event.type for event in got[1:]] == ["message_start"]  # not at the call, but in the stream
    assert (type(caught.value), caught.value.status_code) == (anthropic.APIStatusError, 200)
    assert caught.value.type == kind_of_error
    assert len(answers.asked) == sent
    assert seen.faults == []
    assert (seen.one.outcome, seen.one.attempts, seen.one.retry_result) == (outcome, sent, result)
    assert [record.outcome for record in seen.attempts] == [outcome] * sent


@each_kind
def test_the_server_is_asked_again_when_it_says(kind: Kind, seen: Any, ask: Any) -> None:
    waits = Waits()
    answers = Answers(sse(error()), sse(*WHOLE), **{"retry-after": "7"})
    kind.read(waiting(answers.client(kind, seen, policy()), waits), ask)
    assert waits.seconds == [7.0]


@each_kind
def test_a_wait_for_which_no_time_is_left_is_not_begun(kind: Kind, seen: Any, ask: Any) -> None:
    answers = Answers(sse(error()), **{"retry-after": "50"})
    with pytest.raises(anthropic.APIStatusError):
        kind.read(answers.client(kind, seen, policy(timeouts={"total": 20.0})), ask)
    assert (seen.one.outcome, seen.one.phase) == (Outcome.OVERLOADED, Phase.DEADLINE)
    assert [(wait.reason, wait.completed) for wait in seen.one.waits] == [(Outcome.OVERLOADED, False)]
    assert [record.outcome for record in seen.attempts] == [Outcome.OVERLOADED]


@each_kind
@pytest.mark.parametrize("after", [0, 1], ids=["at once", "after a token"])
def test_what_was_begun_to_read_is_never_tried_again(kind: Kind, seen: Any, ask: Any, after: int) -> None:
    answers = Answers(sse(START, BLOCK, DELTA, *[PING] * after, error()), sse(*WHOLE))
    with pytest.raises(anthropic.APIStatusError):
        kind.read(answers.client(kind, seen, policy()), ask)
    assert len(answers.asked) == 1
    assert seen.one.outcome is Outcome.OVERLOADED


@each_kind
def test_without_a_policy_nothing_is_looked_at(kind: Kind, seen: Any, ask: Any) -> None:
    answers = Answers(sse(error()), sse(*WHOLE))
    with pytest.raises(anthropic.APIStatusError):
        kind.read(answers.client(kind, seen, None), ask)
    assert len(answers.asked) == 1


@each_kind
@pytest.mark.parametrize(
    ("chunks", "break_off", "outcome"),
    [
        ([], None, Outcome.TRUNCATED),
        (sse(START), None, Outcome.TRUNCATED),
        (sse(START, BLOCK), httpx2.ReadError("reset"), Outcome.TRUNCATED),
        (sse(START), httpx2.ReadTimeout("silent"), Outcome.TIMEOUT),
    ],
    ids=["empty", "cut cleanly", "cut", "silent"],
)
def test_what_breaks_off_before_a_token_breaks_off_where_it_is_read(
    kind: Kind, seen: Any, ask: Any, chunks: list[bytes], break_off: Exception | None, outcome: Outcome
) -> None:
    """Not in the table of what is tried again: the answer had begun."""
    answers = Answers(Body(chunks, break_off))
    got: list[Any] = []
    with pytest.raises(StreamInterrupted) as caught:
        open_then_read(kind, answers.client(kind, seen, policy()), ask, got)
    assert [event.type for event in got[1:]] == ["message_start", "content_block_start"][: len(chunks)]
    assert (caught.value.outcome, caught.value.request_id) == (outcome, "req_0")
    assert bool(caught.value.partial.message) is bool(chunks)
    assert (len(answers.asked), seen.one.outcome) == (1, outcome)
    assert seen.faults == []


@each_kind
def test_of_streams_without_end_or_beginning_little_is_held(
    kind: Kind, seen: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings, "_LIMIT", 100)
    taken: list[int] = []
    answers = Answers(Body(sse(*[PING] * 50), before=taken.append))
    client = answers.client(kind, seen, policy())
    if kind.name == "sync":
        with client:
            client.messages.create(**ask, stream=True).close()
    else:

        async def run() -> None:
            async with client:
                await (await client.messages.create(**ask, stream=True)).close()

        asyncio.run(run())
    assert len(taken) < 10
    assert seen.one.outcome is Outcome.CANCELLED


@each_kind
@pytest.mark.parametrize(
    "headers",
    [{"content-encoding": "unheard-of"}, {"content-type": "text/plain"}, {"content-type": FRAMED} | GZIP],
    ids=["packed", "no events", "packed frames"],
)
def test_what_cannot_be_looked_into_is_handed_over_once_it_begins(
    kind: Kind, seen: Any, ask: Any, headers: dict[str, str]
) -> None:
    taken: list[int] = []
    answers = Answers(Body([b"something ", b"else"], before=taken.append), **headers)
    client = answers.client(kind, seen, policy())
    if kind.name == "sync":
        with client, client.messages.with_streaming_response.create(**ask, stream=True) as response:
            assert taken == [0]
            assert next(response.http_response.iter_raw()) == b"something "
    else:

        async def run() -> None:
            create = client.messages.with_streaming_response.create
            async with client, create(**ask, stream=True) as response:
                assert taken == [0]
                async for chunk in response.http_response.aiter_raw():
                    assert chunk == b"something "
                    break

        asyncio.run(run())


@each_kind
def test_a_fault_of_ours_in_looking_is_reported_and_no_more(
    kind: Kind, seen: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(openings, "SseScanner", explode)
    events = kind.read(
        Answers([b"".join(sse(*WHOLE))[:9], b"".join(sse(*WHOLE))[9:]]).client(kind, seen, policy()), ask
    )
    assert len(events) == len(WHOLE)
    assert [where for where, _ in seen.faults] == ["client.opening"]


@each_kind
def test_leaving_the_stream_before_it_is_read_is_cancelling(kind: Kind, seen: Any, ask: Any) -> None:
    kind.first_then(Answers(sse(*WHOLE[:-1])).client(kind, seen, policy()), ask, lambda stream: stream.close())
    assert seen.one.outcome is Outcome.CANCELLED


def test_an_interruption_while_it_is_looked_at_ends_everything(seen: Any, ask: Any) -> None:
    class Interrupted(httpx2.SyncByteStream):
        closed = False

        def __iter__(self) -> Iterator[bytes]:
            yield sse(START)[0]
            raise KeyboardInterrupt

        def close(self) -> None:
            self.closed = True

    body = Interrupted()
    with Answers(body).client(KINDS[0], seen, policy()) as client, pytest.raises(KeyboardInterrupt):
        client.messages.create(**ask, stream=True)
    assert body.closed
    assert (seen.one.outcome, seen.one.attempts) == (Outcome.CANCELLED, 1)


def test_a_task_that_is_cancelled_while_it_is_looked_at_ends_too(seen: Any, ask: Any) -> None:
    class Silent(httpx2.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield sse(START)[0]
            await asyncio.sleep(60)

        async def aclose(self) -> None:
            self.closed = True

    body = Silent()

    async def run() -> None:
        async with Answers(body).client(KINDS[1], seen, policy()) as client, asyncio.timeout(0.2):
            await client.messages.create(**ask, stream=True)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert body.closed
    assert (seen.one.outcome, seen.one.attempts) == (Outcome.CANCELLED, 1)


def test_middleware_may_make_another_error_of_it_or_another_answer(seen: Any, ask: Any) -> None:
    """The plan has been told of the attempt's end by then, and is not told twice."""

    def replace(request: Any, call_next: Any) -> Any:
        try:
            return call_next(request)
        except anthropic.APIStatusError as error:
            raise KeyError("mine") from (error if chained else None)

    for chained, sent in ((False, 1), (True, 2)):
        answers = Answers(sse(error()), sse(*WHOLE))
        with answers.client(KINDS[0], seen, policy(), middleware=[replace]) as client:
            if chained:
                assert len(list(client.messages.create(**ask, stream=True))) == len(WHOLE)
            else:
                with pytest.raises(KeyError):
                    client.messages.create(**ask, stream=True)
        assert len(answers.asked) == sent
    assert seen.faults == []
    assert len(seen.calls) == 2


@each_kind
def test_nothing_is_left_to_the_garbage_collector(
    kind: Kind, seen: Any, ask: Any, born: list[weakref.ref[Call]]
) -> None:
    def reset(number: int) -> None:
        if number:
            raise httpx2.ReadError("reset")  # a new one: whoever keeps an error keeps the frames it came through

    answers = Answers(sse(error()), sse(*WHOLE), Body(sse(START, BLOCK), before=reset), sse(error()))
    client = answers.client(kind, seen, policy())

    def sync() -> None:
        list(client.messages.create(**ask, stream=True))
        for _ in range(2):
            with pytest.raises(anthropic.APIError):
                list(client.messages.create(**ask, stream=True))

    async def run() -> None:
        assert [event async for event in await client.messages.create(**ask, stream=True)]
        for _ in range(2):
            with pytest.raises(anthropic.APIError):
                assert [event async for event in await client.messages.create(**ask, stream=True)]

    if kind.name == "sync":
        sync()
    else:
        asyncio.run(run())
    assert len(born) == 3
    assert [ref() for ref in born[: 1 if BROKEN_CALLS_ARE_LEFT else 3]] == [None] * (1 if BROKEN_CALLS_ARE_LEFT else 3)
