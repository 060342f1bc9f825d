"""Bedrock's framing is undone wherever it is cut, and nothing that a peer sends raises, or is held without bound."""

import base64
import json
import struct
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.model import Usage
from sidecar.wire import frames
from sidecar.wire.events import SseEvents
from sidecar.wire.frames import FRAME_LIMIT, EventFrames
from sidecar.wire.sse import SseScanner

EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi\nevent: error\n\n"}},
    {"type": "ping"},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}},
]
OF_AN_EVENT = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}


def header(name: str, value: str | bytes, kind: int = 7) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    size = struct.pack(">H", len(data)) if kind in {6, 7} else b""
    return bytes([len(name)]) + name.encode() + bytes([kind]) + size + data


def headers_of(told: dict[str, str]) -> bytes:
    return b"".join(header(name, value) for name, value in told.items())


def frame(payload: bytes, headers: bytes = headers_of(OF_AN_EVENT)) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))


def packed(event: Any, **json_options: Any) -> bytes:
    data = json.dumps(event, **json_options).encode()
    return json.dumps({"bytes": base64.b64encode(data).decode(), "p": "abc"}).encode()


STREAM = b"".join(frame(packed(event)) for event in EVENTS)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(at % (len(data) + 1) for at in cuts)})
    return [data[begin:end] for begin, end in pairwise(edges)]


def fed(*chunks: bytes) -> tuple[EventFrames, bytes]:
    reading = EventFrames()
    return reading, b"".join(event for chunk in chunks for event in reading.feed(chunk))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
@example(list(range(len(STREAM))))
def test_wherever_it_is_cut_the_same_events_come_out(cuts: list[int]) -> None:
    reading, told = fed(*cut(STREAM, cuts))
    assert not reading.failed
    assert reading.intact == len(STREAM)
    assert [event.decoded() for event in SseEvents().feed(told)] == EVENTS


def test_what_comes_out_is_what_the_apis_own_stream_tells() -> None:
    scanner = SseScanner()
    reading = EventFrames()
    for chunk in cut(STREAM, list(range(0, len(STREAM), 7))):
        for event in reading.feed(chunk):
            scanner.feed(event)
    assert (scanner.first_delta, scanner.complete, scanner.error, scanner.malformed) == (True, True, None, False)
    assert (scanner.usage, scanner.stop_reason, scanner.model) == (Usage(input=3, output=4), "end_turn", "m")


@pytest.mark.parametrize("options", [{"indent": 1}, {"separators": (",", ":")}, {"sort_keys": True}])
def test_json_may_be_written_in_any_way(options: Any) -> None:
    _, told = fed(*(frame(packed(event, **options)) for event in EVENTS))
    assert [event.decoded() for event in SseEvents().feed(told)] == EVENTS


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({":message-type": "exception", ":exception-type": "throttlingException"}, "rate_limit_error"),
        ({":message-type": "exception", ":exception-type": "ModelTimeoutException"}, "timeout_error"),
        ({":message-type": "exception", ":exception-type": "validationException"}, "invalid_request_error"),
        ({":message-type": "exception", ":exception-type": "internalServerException"}, "api_error"),
        ({":message-type": "exception"}, "api_error"),
        (
            {":message-type": "error", ":error-code": "AccessDeniedException"},
            "permission_error",
        ),
    ],
)
def test_an_exception_is_an_error_in_the_apis_words(headers: dict[str, str], kind: str) -> None:
    _, told = fed(frame(b'{"message":"secret"}', headers_of(headers)))
    (event,) = SseEvents().feed(told)
    assert (event.name, event.decoded()) == ("error", {"type": "error", "error": {"type": kind}})


def test_headers_of_every_type_are_passed_over() -> None:
    sizes = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 6: 3, 8: 8, 9: 16}
    odd = b"".join(header(f"x{kind}", b"\x01" * size, kind) for kind, size in sizes.items())
    exception = header(":message-type", "exception") + header(":exception-type", "throttlingException")
    _, told = fed(frame(b"{}", odd + exception))
    assert b"rate_limit_error" in told


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b"no JSON",
        b'{"bytes": 7}',
        b'{"bytes": "===="}',
        b'{"bytes": "\xc3\xa4"}',
        packed([]),
        packed({"completion": "x"}),
        packed({"type": 7}),
        packed({"type": ""}),
        packed({"type": "x\n\nevent: message_stop"}),
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_of_the_api_is_left_out(payload: bytes) -> None:
    reading, told = fed(frame(payload), frame(packed(EVENTS[-1])))
    assert [event.name for event in SseEvents().feed(told)] == ["message_stop"]
    assert not reading.failed


@pytest.mark.parametrize("headers", [b"\xff", b"\x05abc", b"\x01a", b"\x01a\x07", b"\x01a\x07\xff\xffx", b"\x01a\x63"])
def test_headers_that_are_broken_are_read_as_far_as_they_go(headers: bytes) -> None:
    reading, told = fed(frame(packed(EVENTS[-1]), headers))
    assert b"message_stop" in told
    assert not reading.failed


@pytest.mark.parametrize("at", [0, 3, 5, 9, 20, -30, -1])
def test_a_byte_that_is_changed_ends_the_looking(at: int) -> None:
    one = bytearray(frame(packed(EVENTS[0])))
    one[at] ^= 0x40
    reading, told = fed(bytes(one), STREAM)
    assert reading.failed
    assert reading.intact == 0
    assert reading.damaged
    assert told == b""
    assert not reading._held


@pytest.mark.parametrize(("length", "headers"), [(15, 0), (0, 0), (100, 99), (FRAME_LIMIT, FRAME_LIMIT - 16)])
def test_lengths_that_cannot_be_end_it_too(length: int, headers: int) -> None:
    prelude = struct.pack(">II", length, headers)
    reading, told = fed(prelude + struct.pack(">I", zlib.crc32(prelude)) + STREAM)
    assert reading.failed
    assert told == b""


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 5000), max_size=6))
def test_of_a_frame_that_is_too_long_nothing_is_held(cuts: list[int]) -> None:
    limit, frames.FRAME_LIMIT = frames.FRAME_LIMIT, 1000  # type: ignore[misc]
    try:
        long = frame(b"x" * 3000)
        reading, told = EventFrames(), b""
        for chunk in cut(long + frame(packed(EVENTS[-1])), cuts):
            told += b"".join(reading.feed(chunk))
            assert len(reading._held) <= 1000
    finally:
        frames.FRAME_LIMIT = limit  # type: ignore[misc]
    assert [event.name for event in SseEvents().feed(told)] == ["message_stop"]
    assert not reading.failed
    assert reading.intact == len(long) + len(frame(packed(EVENTS[-1])))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_whatever_comes_raises_nothing_and_little_is_held(chunks: list[bytes]) -> None:
    reading, _ = fed(*chunks)
    assert len(reading._held) <= 1000


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300), st.binary(max_size=120))
def test_whatever_stands_in_a_frame_raises_nothing(payload: bytes, headers: bytes) -> None:
    reading, told = fed(frame(payload, headers), frame(packed(EVENTS[-1])))
    assert not reading.failed
    assert told.endswith(b"\n\n")
