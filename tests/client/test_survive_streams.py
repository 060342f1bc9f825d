"""Streams under a policy: where they break off the application gets one error, with what had come of the answer."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.chaos import Chaos
from sidecar.client import decoding, interruptions
from sidecar.client.errors import StreamDeadlineExceeded, StreamInterrupted, StreamStalled
from sidecar.client.limits import KEY_OF, Limits, bound_reads
from sidecar.model import Outcome, Phase
from sidecar.policy import Retry, Timeouts
from tests.client.survive import KINDS, Aiohttp, Kind, policy

ONCE = Retry(max_attempts=1)
ALL: list[Kind] = [*KINDS, Aiohttp()]


def faulty(ask: dict[str, Any], spec: str) -> dict[str, Any]:
    return {**ask, "extra_headers": {"x-chaos": spec}}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    ("spec", "limits", "kind_of_error", "outcome", "phase"),
    [
        ("truncate;after=3", {}, StreamInterrupted, Outcome.TRUNCATED, None),
        ("truncate-clean;after=3", {}, StreamInterrupted, Outcome.TRUNCATED, None),
        ("truncate-clean;after=3;gzip-sse", {}, StreamInterrupted, Outcome.TRUNCATED, None),
        ("stall;after=3", {"stall": 0.3}, StreamStalled, Outcome.TIMEOUT, Phase.STALL),
        ("stall;after=3", {"total": 0.6}, StreamDeadlineExceeded, Outcome.TIMEOUT, Phase.DEADLINE),
        ("stall;after=3", {"total": 0.6, "stall": None}, StreamDeadlineExceeded, Outcome.TIMEOUT, Phase.DEADLINE),
    ],
)
def test_a_broken_stream_raises_one_of_our_errors(
    kind: Kind,
    seen: Any,
    chaos: Chaos,
    ask: Any,
    spec: str,
    limits: Any,
    kind_of_error: type[StreamInterrupted],
    outcome: Outcome,
    phase: Phase | None,
) -> None:
    with pytest.raises(StreamInterrupted) as caught:
        kind.read(kind.client(seen, chaos.url, policy=policy(timeouts=limits, retry=ONCE)), faulty(ask, spec))
    error = caught.value
    assert type(error) is kind_of_error
    assert (error.outcome, error.phase) == (outcome, phase)
    (truth,) = seen.agree(chaos, calls=1)
    assert error.request_id == truth.request_id
    assert (seen.one.outcome, seen.one.phase) == (outcome, phase)
    partial = error.partial
    assert partial.text
    assert partial.content == ({"type": "text", "text": partial.text},)
    assert partial.usage is not None
    assert partial.usage.input > 0
    assert partial.stop_reason is None
    assert partial.message["id"]
    assert partial.text not in f"{error}{error!r}{error.args}{partial!r}{seen.attempts}{seen.calls}"


def test_without_a_policy_the_sdks_errors_stay_as_they_are(seen: Any, chaos: Chaos, ask: Any) -> None:
    with KINDS[0].client(seen, chaos.url) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            list(client.messages.create(**faulty(ask, "truncate;after=3"), stream=True))
        assert list(client.messages.create(**faulty(ask, "truncate-clean;after=3"), stream=True))
        with pytest.raises(httpx2.ReadTimeout):
            list(client.messages.create(**faulty(ask, "stall;after=3"), stream=True, timeout=0.3))
    assert [call.outcome for call in seen.calls] == [Outcome.TRUNCATED, Outcome.TRUNCATED, Outcome.TIMEOUT]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_error_inside_a_stream_stays_the_sdks(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    with pytest.raises(anthropic.APIStatusError):
        kind.read(kind.client(seen, chaos.url, policy=policy(retry=ONCE)), faulty(ask, "error-event;after=2"))
    seen.agree(chaos, calls=1)
    assert seen.one.outcome is Outcome.OVERLOADED


def sse(*events: dict[str, Any]) -> list[bytes]:
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


START = {"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": {"input_tokens": 1}}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word "}}
STOP = {"type": "message_stop"}


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body in memory that can be read either way, and breaks off when told to."""

    def __init__(self, chunks: list[bytes], error: Exception | None = None, before: Any = None) -> None:
        self.chunks, self.error, self.before = chunks, error, before

    def __iter__(self) -> Iterator[bytes]:
        for number, chunk in enumerate(self.chunks):
            if self.before is not None:
                self.before(number)
            yield chunk
        if self.error is not None:
            raise self.error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    async def aclose(self) -> None:
        """Nothing is open."""


def over(kind: Kind, seen: Any, body: Body, chosen: Any, **headers: str) -> Any:
    """Make a client that is answered with this body."""
    told = {"content-type": "text/event-stream", "request-id": "req_1", **headers}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=told, stream=body))
    http = httpx2.Client(transport=transport) if kind.name == "sync" else httpx2.AsyncClient(transport=transport)
    return kind.client(seen, "http://test", policy=chosen, http_client=http)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_break_after_the_message_is_whole_is_none(kind: Kind, seen: Any, ask: Any) -> None:
    body = Body(sse(START, BLOCK, DELTA, STOP), httpx2.ReadError("reset"))
    assert [event.type for event in kind.read(over(kind, seen, body, policy()), ask)][-1] == "message_stop"
    assert seen.one.outcome is Outcome.OK


def packed(*events: dict[str, Any]) -> bytes:
    """Compress the beginning of a stream that goes on."""
    packing = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return packing.compress(b"".join(sse(*events))) + packing.flush(zlib.Z_SYNC_FLUSH)


DAMAGED = [packed(START, BLOCK, DELTA), b"\xff" * 20]
GZIP = {"content-encoding": "gzip"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    ("chunks", "headers", "text"),
    [
        (DAMAGED, GZIP, "word "),
        ([b"".join(DAMAGED)], GZIP, ""),  # of a chunk that is damaged nobody reads anything
        ([b"no gzip at all"], GZIP, ""),
        ([DAMAGED[0], b"x"], {"content-encoding": ", ".join(["gzip"] * 6)}, ""),
    ],
    ids=["half-way", "in one chunk", "at once", "too many"],
)
def test_damaged_compression_is_one_of_our_errors(
    kind: Kind, seen: Any, ask: Any, chunks: list[bytes], headers: dict[str, str], text: str
) -> None:
    with pytest.raises(StreamInterrupted, match="damaged") as caught:
        kind.read(over(kind, seen, Body(chunks), policy(), **headers), ask)
    error = caught.value
    assert type(error) is StreamInterrupted
    assert (error.outcome, error.phase, error.request_id) == (Outcome.SERVER_ERROR, None, "req_1")
    assert error.partial.text == text
    assert isinstance(error.__cause__, httpx2.DecodingError)
    assert [(record.outcome, record.error_type) for record in (*seen.calls, *seen.attempts)] == [
        (Outcome.SERVER_ERROR, "DecodingError")
    ] * 2


def test_an_http_client_that_decodes_in_another_way_is_left_alone(
    seen: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_MAKE", "_named_otherwise")
    with pytest.raises(httpx2.DecodingError):
        KINDS[0].read(over(KINDS[0], seen, Body(DAMAGED), policy(), **GZIP), ask)
    assert (seen.one.outcome, seen.one.error_type) == (Outcome.SERVER_ERROR, "DecodingError")


def test_of_a_long_damaged_answer_all_that_was_read_is_told(
    seen: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruptions, "_CHUNKS", 2)
    packing = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    chunks = [packing.compress(event) + packing.flush(zlib.Z_SYNC_FLUSH) for event in sse(START, BLOCK, *[DELTA] * 9)]
    with pytest.raises(StreamInterrupted) as caught:
        KINDS[0].read(over(KINDS[0], seen, Body([*chunks, b"\xff" * 20]), policy(), **GZIP), ask)
    assert caught.value.partial.text == "word " * 9


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damage_after_the_message_is_whole_is_none(kind: Kind, seen: Any, ask: Any) -> None:
    body = Body([packed(START, BLOCK, DELTA, STOP), b"\xff" * 20])
    assert [event.type for event in kind.read(over(kind, seen, body, policy(), **GZIP), ask)][-1] == "message_stop"
    assert seen.one.outcome is Outcome.OK


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_whole_answer_is_the_sdks_error(kind: Kind, seen: Any, ask: Any) -> None:
    headers = GZIP | {"content-type": "application/json"}
    with pytest.raises(anthropic.APIConnectionError) as caught:
        kind.create(over(kind, seen, Body([b"no gzip at all"]), policy(), **headers), ask)
    assert type(caught.value) is anthropic.APIConnectionError
    assert (seen.one.outcome, seen.one.error_type) == (Outcome.SERVER_ERROR, "DecodingError")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("chunks", [DAMAGED, [b"no gzip at all"]], ids=["half-way", "at once"])
def test_without_a_policy_damage_stays_the_http_clients_error(
    kind: Kind, seen: Any, ask: Any, chunks: list[bytes]
) -> None:
    with pytest.raises(httpx2.DecodingError):
        kind.read(over(kind, seen, Body(chunks), None, **GZIP), ask)
    assert [(record.outcome, record.error_type) for record in (*seen.calls, *seen.attempts)] == [
        (Outcome.SERVER_ERROR, "DecodingError")
    ] * 2


@pytest.mark.parametrize("chosen", [None, policy()], ids=["observed", "policy"])
def test_a_damaged_streaming_response_is_told_too(seen: Any, ask: Any, chosen: Any) -> None:
    headers = GZIP | {"content-type": "application/json"}
    kind = StreamInterrupted if chosen else httpx2.DecodingError
    with over(KINDS[0], seen, Body([b"no gzip at all"]), chosen, **headers) as client:
        opened = client.messages.with_streaming_response.create(**ask)
        with pytest.raises(kind), opened as response:
            response.read()
    assert (seen.one.outcome, seen.one.error_type) == (Outcome.SERVER_ERROR, "DecodingError")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_errors_that_are_no_transports_pass_through(kind: Kind, seen: Any, ask: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        kind.read(over(kind, seen, Body(sse(START, BLOCK), ZeroDivisionError()), policy()), ask)
    assert seen.calls[0].outcome is Outcome.CLIENT_ERROR


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_of_a_long_answer_nothing_is_lost_and_little_held(
    kind: Kind, seen: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruptions, "_CHUNKS", 7)
    monkeypatch.setattr(interruptions, "_BYTES", 500)
    deltas = [DELTA | {"delta": {"type": "text_delta", "text": f"{number} "}} for number in range(100)]
    with pytest.raises(StreamInterrupted) as caught:
        kind.read(over(kind, seen, Body(sse(START, BLOCK, *deltas)), policy()), ask)
    assert caught.value.partial.text == "".join(f"{number} " for number in range(100))


@pytest.mark.parametrize(
    ("chunks", "headers"),
    [
        ([*sse(START), b"event: message_stop\n", *sse(BLOCK, BLOCK)], {}),
        ([b"no frames at all"], {"content-type": "application/vnd.amazon.eventstream"}),
        (sse(START), {"content-encoding": "unheard-of"}),
    ],
    ids=["contradictory", "Bedrock's", "packed"],
)
def test_what_cannot_be_looked_into_is_not_called_cut(
    seen: Any, ask: Any, chunks: list[bytes], headers: dict[str, str]
) -> None:
    client = over(KINDS[0], seen, Body(chunks), policy(), **headers)
    with client, client.messages.with_streaming_response.create(**ask, stream=True) as response:
        assert b"".join(response.iter_bytes()) == b"".join(chunks)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_without_a_connection_of_its_own_a_body_still_ends_with_the_calls_time(kind: Kind, seen: Any, ask: Any) -> None:
    """Custom transports have no stream whose reads could be bounded: the clock is looked at between chunks."""
    import time

    body = Body(sse(START, BLOCK, *[DELTA] * 400), before=lambda _: time.sleep(0.005))
    with pytest.raises(StreamDeadlineExceeded) as caught:
        kind.read(over(kind, seen, body, policy(timeouts={"total": 0.3})), ask)
    assert caught.value.partial.text.startswith("word")
    assert (seen.one.outcome, seen.one.phase) == (Outcome.TIMEOUT, Phase.DEADLINE)


def test_an_async_body_that_falls_silent_without_a_connection_is_broken_off(seen: Any, ask: Any) -> None:
    class Silent(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in sse(START, BLOCK, DELTA):
                yield chunk
            await asyncio.sleep(60)

    kind = KINDS[1]
    with pytest.raises(StreamStalled):
        kind.read(over(kind, seen, Silent(), policy(timeouts={"total": 50.0, "stall": 0.2})), ask)  # type: ignore[arg-type]


@pytest.mark.parametrize("stream", [False, True])
def test_a_streaming_response_that_breaks_off_is_told_the_same_way(
    seen: Any, chaos: Chaos, ask: Any, stream: bool
) -> None:
    with KINDS[0].client(seen, chaos.url, policy=policy(retry=ONCE)) as client:
        opened = client.messages.with_streaming_response.create(**faulty(ask, "truncate"), stream=stream)
        with pytest.raises(StreamInterrupted) as caught, opened as response:
            response.read()
    assert bool(caught.value.partial.text) is stream
    seen.agree(chaos, calls=1)


def test_asyncio_timeout_around_a_stream_cancels_it(seen: Any, chaos: Chaos, ask: Any) -> None:
    async def run() -> None:
        async with sidecar.AsyncAnthropic(base_url=chaos.url, api_key="k", telemetry=seen, policy=policy()) as client:
            async with asyncio.timeout(0.4):
                async for _ in await client.messages.create(**faulty(ask, "stall;after=1"), stream=True):
                    pass

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    seen.agree(chaos, calls=1)
    assert seen.one.outcome is Outcome.CANCELLED


@pytest.mark.parametrize("spec", ["hang", "529;retry-after=30"])
def test_asyncio_timeout_around_a_call_cancels_it_wherever_it_waits(
    seen: Any, chaos: Chaos, ask: Any, spec: str
) -> None:
    async def run() -> None:
        async with sidecar.AsyncAnthropic(base_url=chaos.url, api_key="k", telemetry=seen, policy=policy()) as client:
            async with asyncio.timeout(0.4):
                await client.messages.create(**faulty(ask, spec))

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    seen.agree(chaos, calls=1)
    assert seen.one.outcome is Outcome.CANCELLED


# The limits themselves


def test_a_phase_that_begins_late_has_only_what_is_left() -> None:
    now = [0.0]
    limits = Limits(
        Timeouts(connect=3.0, pool=2.0, write=None, first_byte=30.0, stall=20.0, total=40.0), lambda: now[0]
    )
    assert [limits.get(key) for key in ("pool", "connect", "write", "read")] == [2.0, 3.0, 40.0, 30.0]
    assert limits["read"] == 30.0
    assert limits == {"connect": 3.0, "pool": 2.0, "write": None, "read": 30.0}
    now[0] = 15.0
    assert limits.get("read") == 25.0
    limits.responding = True
    assert limits.get("read") == 20.0
    assert not limits.is_deadline(httpx2.ReadTimeout("x"))
    now[0] = 39.0
    assert limits.get("read") == 1.0
    assert limits.is_deadline(httpx2.ReadTimeout("x"))
    now[0] = 50.0
    assert limits.get("read") == 0.001


def test_a_timeout_is_the_deadlines_only_where_that_was_what_bound_it() -> None:
    now = [0.0]
    limits = Limits(Timeouts(connect=3.0, pool=2.0, write=60.0, first_byte=30.0, total=40.0), lambda: now[0])
    for key in ("pool", "connect", "write", "read"):
        limits.get(key)
    told = {kind.__name__: limits.is_deadline(kind("x")) for kind in KEY_OF}
    assert told == {"PoolTimeout": False, "ConnectTimeout": False, "WriteTimeout": True, "ReadTimeout": False}
    assert not limits.is_deadline(httpx2.TimeoutException("which?"))
    assert not limits.is_deadline(httpx2.ReadError("x"))
    now[0] = 40.0
    assert limits.is_deadline(httpx2.TimeoutException("which?"))


def test_without_a_total_nothing_is_the_deadlines() -> None:
    limits = Limits(Timeouts(), lambda: 0.0)
    assert limits.get("read") == 600.0
    assert not limits.is_spent()
    assert not limits.is_deadline(httpx2.ReadTimeout("x"))


class Network:
    """A connection that says how long it was told to wait."""

    def read(self, _: int, timeout: float | None = None) -> float | None:
        return timeout


def test_every_read_of_a_body_asks_anew_what_is_left() -> None:
    now, network = [0.0], Network()
    limits = Limits(Timeouts(stall=20.0, total=40.0), lambda: now[0])
    limits.responding = True
    response = httpx2.Response(200, extensions={"network_stream": network, "http_version": b"HTTP/1.1"})
    undo = bound_reads(response, limits)
    assert undo is not None
    assert network.read(1, 20.0) == 20.0
    now[0] = 35.0
    assert network.read(1, 20.0) == 5.0
    assert bound_reads(response, limits) is None  # somebody does so already
    undo()
    assert network.read(1, 20.0) == 20.0


@pytest.mark.parametrize("extensions", [{}, {"network_stream": Network(), "http_version": b"HTTP/2"}])
def test_a_connection_that_others_share_is_left_alone(extensions: Any) -> None:
    assert bound_reads(httpx2.Response(200, extensions=extensions), Limits(Timeouts(total=1.0), lambda: 0.0)) is None
