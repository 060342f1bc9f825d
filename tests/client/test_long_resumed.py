"""Streams with ``resume=True``: who reads sees one stream and one message, whatever broke on the way."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Any

import anthropic
import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import sidecar
from sidecar import Resume
from sidecar.chaos import Chaos
from sidecar.client import install as seam
from sidecar.client.errors import StreamDeadlineExceeded, StreamInterrupted
from sidecar.client.long.joint import CONTINUE
from sidecar.model import Outcome
from sidecar.telemetry.traces import Tracing
from tests.client.cycles import BROKEN_CALLS_ARE_LEFT
from tests.client.long_events import block, end, finish, said, start, text
from tests.client.survive import policy
from tests.client.test_survive_openings import Answers
from tests.client.test_survive_streams import GZIP, Body, packed, sse

OK = "ok;tokens=100;continue"
BROKEN = "truncate;after=5;tokens=100;continue"
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
HELPER, EVENTS = "messages.stream", "messages.create"
HOWS = [HELPER, EVENTS, "beta.messages.stream", "beta.messages.create"]
Read = Callable[..., list[Any]]


def method(client: Any, how: str, asked: dict[str, Any]) -> Any:
    for name in how.split("."):
        client = getattr(client, name)
    return client(**asked, **({"stream": True} if how.endswith("create") else {}))


def read_sync(url: str, how: str, asked: dict[str, Any], **given: Any) -> list[Any]:
    under = given.pop("under", None)
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0, **given) as client:
        if under:
            sidecar.instrument(client, **under)
        with method(client, how, asked) as stream:
            return list(stream)


def read_async(url: str, how: str, asked: dict[str, Any], **given: Any) -> list[Any]:
    under = given.pop("under", None)

    async def run() -> list[Any]:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0, **given) as client:
            if under:
                sidecar.instrument(client, **under)
            made = method(client, how, asked)
            async with made if how.endswith("stream") else await made as stream:
                return [event async for event in stream]

    return asyncio.run(run())


@pytest.fixture(params=[read_sync, read_async], ids=["sync", "async"])
def read(request: pytest.FixtureRequest, chaos: Chaos, ask: dict[str, Any]) -> Read:
    """Read the same request's stream to its end with a client of either kind."""

    def reading(how: str = HELPER, *, resume: Any = True, under: Any = None, **options: Any) -> list[Any]:
        asked = {"resume": resume} if resume is not None else {}
        events: list[Any] = request.param(chaos.url, how, {**ask, **asked, **options}, under=under)
        return events

    return reading


@pytest.fixture
def whole(read: Read, chaos: Chaos) -> Callable[[str], list[Any]]:
    """Give what the SDK's own method gives of the answer when nothing happens to it."""

    def reading(how: str) -> list[Any]:
        events = read(how, resume=None, max_tokens=200, extra_headers={"x-chaos": "ok;tokens=100"})
        chaos.settled()
        chaos.reset()
        return events

    return reading


def shape(events: list[Any]) -> list[Any]:
    """Tell what events are, with equal neighbours told once."""
    kinds = [(type(event), event.type, getattr(event, "index", None)) for event in events]
    return [kind for before, kind in zip([None, *kinds], kinds, strict=False) if kind != before]


def text_of(events: list[Any]) -> str:
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    return "".join(delta.text for delta in deltas if delta.type == "text_delta")


def usage_of(events: list[Any]) -> Any:
    (told,) = [event.usage for event in events if event.type == "message_delta"]
    return told


CASES = [
    (HELPER, OK, 200, 1),
    (HELPER, f"{OK} x3", 40, 3),
    (HELPER, f"{BROKEN},{OK}", 200, 2),
    (HELPER, f"error-event;after=5;tokens=100;continue,{OK}", 200, 2),
    (HELPER, f"truncate-clean;after=5;tokens=100;continue,{BROKEN},{OK}", 200, 3),
    (HELPER, f"truncate;after=0;tokens=100;continue,{OK}", 200, 2),
    (HELPER, f"reset;when=after-headers;tokens=100,{OK}", 200, 2),
    (HELPER, f"malformed-sse;after=5;tokens=100;continue,{OK}", 200, 2),
    (HELPER, f"{BROKEN};gzip-sse,{OK};gzip-sse", 200, 2),
    (HELPER, f"{BROKEN},{OK} x2", 50, 3),
    *[(how, f"{BROKEN},{BROKEN},{OK}", 200, 3) for how in HOWS[1:]],
]


@pytest.mark.parametrize(("how", "faults", "max_tokens", "calls"), CASES)
def test_one_stream_is_seen_and_one_message(
    how: str, faults: str, max_tokens: int, calls: int, read: Read, whole: Any, chaos: Chaos, installed: Any
) -> None:
    expected = whole(how)
    installed.attempts.clear()
    installed.calls.clear()
    chaos.enqueue(faults)
    events = read(how, max_tokens=max_tokens)
    assert shape(events) == shape(expected)
    assert text_of(events) == text_of(expected)
    truth = installed.agree(chaos, calls=calls)
    assert [record.attempts for record in installed.calls] == [1] * calls
    assert usage_of(events).input_tokens in {None, sum(attempt.input_tokens or 0 for attempt in truth)}
    assert events[0].message.id == "msg_" + str(truth[0].request_id).removeprefix("req_")
    (stop,) = [event for event in events if event.type == "message_delta"]
    assert stop.delta.stop_reason == "end_turn"
    assert installed.calls[-1].outcome is Outcome.OK
    assert all(call.stream for call in installed.calls)


@pytest.mark.parametrize(
    "fault", ["truncate;after=5", "truncate-clean;after=5", "stall;after=5", "malformed-sse;after=5"]
)
def test_under_a_policy_it_is_the_same(fault: str, read: Read, whole: Any, chaos: Chaos, seen: Any) -> None:
    expected = whole(HELPER)
    chaos.enqueue(f"{fault};tokens=100;continue,{OK}")
    under = {"telemetry": seen, "policy": policy(timeouts={"stall": 0.5})}
    events = read(max_tokens=200, under=under)
    assert (shape(events), text_of(events)) == (shape(expected), text_of(expected))
    seen.agree(chaos, calls=2)


def test_the_final_message_is_the_sum(sync_client: Any, ask: Any, chaos: Chaos, installed: Any) -> None:
    chaos.enqueue(f"{BROKEN},{OK}")
    with sync_client.messages.stream(**ask | {"max_tokens": 200}, resume=True) as stream:
        said = "".join(stream.text_stream)
        message = stream.get_final_message()
    truth = installed.agree(chaos, calls=2)
    assert (stream.get_final_text(), len(message.content)) == (said, 1)
    assert message.usage.input_tokens == sum(attempt.input_tokens or 0 for attempt in truth)
    assert message.usage.output_tokens > (truth[1].output_tokens or 0)
    assert stream.request_id == truth[1].request_id


async def test_the_final_message_of_async_clients_is_too(
    async_client: Any, ask: Any, chaos: Chaos, installed: Any
) -> None:
    chaos.enqueue(f"{BROKEN},{OK}")
    async with (
        async_client,
        async_client.messages.stream(**ask | {"max_tokens": 200}, resume=True) as stream,
    ):
        said = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()
        assert await stream.get_final_text() == said
    truth = await asyncio.to_thread(installed.agree, chaos, calls=2)
    assert message.usage.input_tokens == sum(attempt.input_tokens or 0 for attempt in truth)
    assert stream.request_id == truth[1].request_id


ACCENTS = [start(), block(0, text()), said(0, "Un café"), said(0, " noir, s'il vous plaît")]
REST = [start(id_="msg_2"), block(0, text()), said(0, " noir, s'il vous plaît."), end(0), *finish("end_turn")]


def broken_bytes(at: bytes, error: Exception | None) -> Body:
    """Give the beginning of a stream, cut right after these bytes."""
    data = b"".join(sse(*ACCENTS)).replace(rb"\u00e9", "é".encode()).replace(rb"\u00ee", "î".encode())
    return Body([data[: data.rindex(at) + len(at)]], error)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("chosen", [None, policy()], ids=["observed", "policy"])
@pytest.mark.parametrize("clean", [False, True], ids=["torn off", "ended"])
@pytest.mark.parametrize("at", [b"pla", "î".encode()[:1], b"event: content_block_d"], ids=["word", "letter", "name"])
def test_what_is_cut_in_the_middle_of_an_event_is_not_half_told(
    at: bytes, kind: str, chosen: Any, seen: Any, ask: Any, *, clean: bool
) -> None:
    answers = Answers(broken_bytes(at, None if clean else httpx2.RemoteProtocolError("cut")), sse(*REST))
    events = through(answers, kind, {**ask, "resume": True}, under={"telemetry": seen, "policy": chosen})
    assert text_of(events) == "Un café noir, s'il vous plaît."
    assert json.loads(answers.asked[1].content)["messages"][1:] == [
        {"role": "assistant", "content": [{"type": "text", "text": "Un café"}]},
        {"role": "user", "content": CONTINUE},
    ]
    assert [call.outcome for call in seen.calls] == [Outcome.TRUNCATED, Outcome.OK]


def through(answers: Answers, kind: str, asked: dict[str, Any], how: str = EVENTS, **given: Any) -> list[Any]:
    """Read a stream out of memory."""
    transport = httpx2.MockTransport(answers)
    if kind == "sync":
        return read_sync("http://test", how, asked, http_client=httpx2.Client(transport=transport), **given)
    return read_async("http://test", how, asked, http_client=httpx2.AsyncClient(transport=transport), **given)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_damaged_compression_is_a_break_like_others(kind: str, seen: Any, ask: Any) -> None:
    answers = Answers([packed(*ACCENTS[:3]), b"\xff" * 20], [packed(*REST)], **GZIP)
    events = through(answers, kind, {**ask, "resume": True}, under={"telemetry": seen})
    assert text_of(events) == "Un café noir, s'il vous plaît."
    assert [call.outcome for call in seen.calls] == [Outcome.SERVER_ERROR, Outcome.OK]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stream_that_nothing_happens_to_is_as_it_was(how: str, kind: str, seen: Any, ask: Any) -> None:
    plain, resumed = (
        through(Answers(sse(*REST)), kind, {**ask, **asked}, how, under={"telemetry": seen})
        for asked in ({}, {"resume": True})
    )
    assert resumed == plain
    assert [type(event) for event in resumed] == [type(event) for event in plain]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_can_be_read_only_once_is_sent_again_whole(kind: str, seen: Any) -> None:
    question = {"role": "user", "content": iter([{"type": "text", "text": "Hi"}])}
    asked = {"model": "m", "max_tokens": 9, "messages": iter([question]), "extra_body": {"extra": iter("ab")}}
    answers = Answers(sse(*ACCENTS), sse(*REST))
    through(answers, kind, {**asked, "resume": True}, under={"telemetry": seen})
    first, second = (json.loads(request.content) for request in answers.asked)
    assert first["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    assert second["messages"][:1] == first["messages"]
    assert first["extra"] == second["extra"] == ["a", "b"]


def test_thinking_that_broke_off_cannot_be_taken_back(read: Read, chaos: Chaos, installed: Any) -> None:
    chaos.enqueue(f"truncate;after=2;tokens=100,{OK}")
    with pytest.raises(StreamInterrupted) as broken:
        read(max_tokens=2000, thinking={"type": "adaptive"})
    assert [block["type"] for block in broken.value.partial.content] == ["thinking"]
    installed.agree(chaos, calls=1)


def test_text_after_thinking_is_gone_on_with(read: Read, chaos: Chaos, installed: Any) -> None:
    """The thinking is whole and signed, so it goes back too; the next turn thinks anew, in a block of its own."""
    chaos.enqueue(f"truncate;after=14;tokens=100;continue,{OK}")
    events = read(max_tokens=2000, thinking={"type": "adaptive"})
    begun = [(event.index, event.content_block.type) for event in events if event.type == "content_block_start"]
    assert begun == [(0, "thinking"), (1, "text"), (2, "thinking"), (3, "text")]
    assert [event.index for event in events if event.type == "content_block_stop"] == [0, 1, 2, 3]
    installed.agree(chaos, calls=2)


def test_a_tool_use_is_neither_made_again_nor_in_halves(read: Read, chaos: Chaos, installed: Any) -> None:
    assert [event.type for event in read(tools=[TOOL])][-1] == "message_stop"
    chaos.enqueue(f"truncate;after=1,{OK}")
    with pytest.raises(StreamInterrupted) as broken:
        read(tools=[TOOL])
    assert [block["type"] for block in broken.value.partial.content] == ["tool_use"]
    installed.agree(chaos, calls=2)


@pytest.mark.parametrize("form", ["output_config", "output_format"])
def test_an_answer_of_a_fixed_format_is_not_continued(form: str, seen: Any, ask: Any) -> None:
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    body = {"output_config": {"format": schema}} if form == "output_config" else {"output_format": schema}
    answers = Answers(sse(*ACCENTS))
    with pytest.raises(StreamInterrupted):
        through(answers, "sync", {**ask, "resume": True, "extra_body": body}, under={"telemetry": seen})
    assert len(answers.asked) == 1


def test_what_breaks_off_for_good_is_told_with_all_that_had_come(
    read: Read, whole: Any, chaos: Chaos, installed: Any
) -> None:
    all_of_it = text_of(whole(HELPER))
    installed.calls.clear()
    installed.attempts.clear()
    chaos.enqueue(f"{BROKEN} x9")
    with pytest.raises(StreamInterrupted) as broken:
        read(resume=Resume(max_turns=2), max_tokens=200)
    said = broken.value.partial.text
    assert all_of_it.startswith(said)
    assert len(said) > len(all_of_it) / 3
    installed.agree(chaos, calls=2)


def test_a_limit_of_turns_ends_the_stream_as_the_api_would(read: Read, chaos: Chaos, installed: Any) -> None:
    chaos.enqueue(f"{OK} x9")
    events = read(resume=Resume(max_turns=2), max_tokens=20)
    assert (events[-1].type, usage_of(events).output_tokens) == ("message_stop", 40)
    installed.agree(chaos, calls=2)


def test_a_limit_of_tokens_does_too(read: Read, chaos: Chaos, installed: Any) -> None:
    chaos.enqueue(f"{OK} x9")
    events = read(resume=Resume(max_total_tokens=30), max_tokens=20)
    assert (events[-1].type, usage_of(events).output_tokens) == ("message_stop", 30)
    truth = installed.agree(chaos, calls=2)
    assert [attempt.output_tokens for attempt in truth] == [20, 10]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("chosen", [None, policy()], ids=["observed", "policy"])
def test_a_deadline_bounds_all_turns(chosen: Any, seen: Any, ask: Any, chaos: Chaos) -> None:
    clock = Clock()

    def passing(_: object) -> None:
        clock.now += 6

    chaos.enqueue(f"{BROKEN} x9")
    http = httpx2.Client(event_hooks={"request": [passing]})
    with sidecar.deadline(1000, clock=clock), pytest.raises(StreamDeadlineExceeded) as broken:
        read_sync(
            chaos.url,
            HELPER,
            {**ask, "max_tokens": 200, "resume": Resume(deadline=10)},
            http_client=http,
            under={"telemetry": seen, "policy": chosen},
        )
    assert broken.value.partial.text
    assert len(chaos.settled()) == 2
    assert seen.telemetry.value("claude_in_flight") == 0


def test_a_call_that_fails_at_once_fails_as_ever(read: Read, chaos: Chaos, installed: Any) -> None:
    chaos.enqueue("529,400")
    with pytest.raises(anthropic.OverloadedError):
        read()
    with pytest.raises(anthropic.BadRequestError):
        read(EVENTS)
    installed.agree(chaos, calls=2)


def test_a_continuation_that_is_refused_leaves_what_had_come(read: Read, chaos: Chaos, installed: Any) -> None:
    chaos.enqueue(f"{BROKEN},529")
    with pytest.raises(StreamInterrupted) as broken:
        read(max_tokens=200)
    assert (broken.value.outcome, bool(broken.value.partial.text)) == (Outcome.OVERLOADED, True)
    assert isinstance(broken.value.__cause__, anthropic.APIStatusError)
    installed.agree(chaos, calls=2)


STALLS = "stall;after=2;tokens=100;continue"


def leave(stream: Any) -> None:
    next(iter(stream))


def fail_inside(stream: Any) -> None:
    next(iter(stream))
    raise KeyError("mine")


def close_and_go_on(stream: Any) -> None:
    next(iter(stream))
    stream.close()
    with pytest.raises((httpx2.StreamError, httpx2.TransportError)):  # as the SDK's own would
        list(stream)


@pytest.mark.parametrize("how", HOWS[:2])
@pytest.mark.parametrize("reading", [leave, fail_inside, close_and_go_on])
def test_leaving_early_is_cancelling_and_nothing_is_resumed(
    reading: Any, how: str, chaos: Chaos, installed: Any, sync_client: Any, ask: Any
) -> None:
    chaos.enqueue(f"{STALLS},{OK}")
    with contextlib.suppress(KeyError), method(sync_client, how, {**ask, "resume": True}) as stream:
        reading(stream)
    assert len(installed.agree(chaos, calls=1)) == 1
    assert installed.one.outcome is Outcome.CANCELLED


class Closing(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body in the middle of which somebody else closes the stream, which then breaks off, or ends."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error
        self.stream: Any = None

    def __iter__(self) -> Iterator[bytes]:
        yield from sse(*ACCENTS)
        self.stream.close()
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in sse(*ACCENTS):
            yield chunk
        await self.stream.close()
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, httpx2.ReadError("closed")], ids=["ends", "breaks"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_somebody_else_closes_is_not_resumed(error: Any, kind: str, seen: Any, ask: Any) -> None:
    body = Closing(error)
    answers = Answers(body, sse(*REST))
    with contextlib.suppress(httpx2.HTTPError, httpx2.StreamError):
        while_reading(answers, kind, ask, seen, lambda stream: setattr(body, "stream", stream))
    assert len(answers.asked) == len(seen.calls) == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_is_closed_between_two_turns_is_not_gone_on_with(kind: str, seen: Any, ask: Any) -> None:
    closing: list[Any] = []

    class Answering(Answers):
        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            for stream in closing:
                left = stream.close()
                if left is not None:
                    with contextlib.suppress(StopIteration):
                        left.send(None)
            return super().__call__(request)

    answers = Answering(sse(*ACCENTS), sse(*REST))
    with pytest.raises(httpx2.StreamError):
        while_reading(answers, kind, ask, seen, closing.append)
    assert [call.outcome for call in seen.calls] == [Outcome.TRUNCATED, Outcome.CANCELLED]


def while_reading(answers: Answers, kind: str, ask: Any, seen: Any, then: Callable[[Any], Any]) -> None:
    """Read a stream to its end, after something has been done with it."""
    transport = httpx2.MockTransport(answers)

    async def run() -> None:
        http = httpx2.AsyncClient(transport=transport)
        async with sidecar.AsyncAnthropic(api_key="k", http_client=http, telemetry=seen) as client:
            messages: Any = client.messages
            stream = await messages.create(**ask, stream=True, resume=True)
            then(stream)
            async for _ in stream:
                pass

    if kind == "async":
        asyncio.run(run())
        return
    with sidecar.Anthropic(api_key="k", http_client=httpx2.Client(transport=transport), telemetry=seen) as client:
        messages: Any = client.messages
        stream = messages.create(**ask, stream=True, resume=True)
        then(stream)
        for _ in stream:
            pass


async def test_leaving_early_is_cancelling_for_async_clients_too(
    chaos: Chaos, installed: Any, async_client: Any, ask: Any
) -> None:
    chaos.enqueue(f"{STALLS},{OK}")
    async with async_client.messages.stream(**ask, resume=True) as stream:
        async for _ in stream.text_stream:
            break
    await async_client.close()
    assert len(await asyncio.to_thread(installed.agree, chaos, calls=1)) == 1
    assert installed.one.outcome is Outcome.CANCELLED


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_giving_up_resumes_nothing(how: str, chaos: Chaos, installed: Any, async_client: Any, ask: Any) -> None:
    chaos.enqueue(f"{STALLS},{OK}")
    begun = asyncio.Event()

    async def reading() -> None:
        async with (
            asyncio.timeout(0.2 if how == "timeout" else None),
            async_client.messages.stream(**ask, resume=True) as stream,
        ):
            async for _ in stream.text_stream:
                begun.set()

    task = asyncio.create_task(reading())
    await begun.wait()
    if how == "cancel":
        task.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancel" else TimeoutError):
        await task
    await async_client.close()
    assert len(await asyncio.to_thread(installed.agree, chaos, calls=1)) == 1
    assert installed.one.outcome is Outcome.CANCELLED


def test_one_that_is_never_read_or_never_entered_is_left_alone(
    chaos: Chaos, installed: Any, sync_client: Any, ask: Any
) -> None:
    sync_client.messages.stream(**ask, resume=True)
    assert (chaos.settled(), installed.calls) == ((), [])
    sync_client.messages.create(**ask, stream=True, resume=True)
    installed.agree(chaos, calls=1)
    assert installed.one.outcome is Outcome.CANCELLED


async def test_one_that_is_dropped_is_cancelled(chaos: Chaos, installed: Any, async_client: Any, ask: Any) -> None:
    chaos.enqueue(f"{BROKEN},{STALLS}")
    stream: Any = await async_client.messages.create(**ask, stream=True, resume=True)
    count = 0
    async for _ in stream:
        count += 1
        if count == 8:
            break
    del stream
    async with asyncio.timeout(10):
        while len(installed.calls) < 2:  # noqa: ASYNC110  # the event loop closes it, in a task of its own
            await asyncio.sleep(0)
    await async_client.close()
    assert [call.outcome for call in installed.calls] == [Outcome.TRUNCATED, Outcome.CANCELLED]
    await asyncio.to_thread(installed.agree, chaos, calls=2)


CUT_OFF: list[tuple[str, int | None]] = [(f"{BROKEN},{OK}", None), (f"{BROKEN} x9", None), (f"{BROKEN},{STALLS}", 8)]


@pytest.mark.parametrize(("fault", "count"), [("529", None), *([] if BROKEN_CALLS_ARE_LEFT else CUT_OFF)])
def test_nothing_is_left_to_the_garbage_collector(
    fault: str, count: int | None, chaos: Chaos, sync_client: Any, ask: Any, installed: Any, born: Any
) -> None:
    """The SDK's own stream helper is; what feeds it is not."""
    chaos.enqueue(fault)
    client = sync_client.with_options(max_retries=0)

    def reading() -> None:
        stream = client.messages.create(**ask, stream=True, resume=Resume(max_turns=2))
        for _ in islice(stream, count):
            pass

    with contextlib.suppress(anthropic.APIError):
        reading()
    assert born
    assert [ref() for ref in born] == [None] * len(born)
    chaos.settled()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_call_has_a_span_of_its_own_with_one_of_its_attempt(kind: str, seen: Any, ask: Any) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    seam._TRACINGS[seen.telemetry] = Tracing(provider)
    through(
        Answers(sse(*ACCENTS), sse(*REST)),
        kind,
        {**ask, "resume": True},
        HELPER,
        under={"telemetry": seen.telemetry},
        open_telemetry={"tracer_provider": provider},
    )
    spans = exporter.get_finished_spans()
    calls = [span for span in spans if span.name == "anthropic.messages.create"]
    assert [span.status.is_ok for span in calls] == [False, True]
    assert [(span.attributes or {}).get("gen_ai.usage.output_tokens") for span in calls][1] == 9
    contexts = [span.context.span_id for span in calls if span.context]
    parents = [span.parent.span_id for span in spans if span not in calls and span.parent]
    assert parents == contexts
