"""The scanner sees the same in a stream however it is cut, ended or meant badly."""

import json
import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model import ApiError, Usage
from sidecar.wire.events import SseEvents
from sidecar.wire.sse import CONTENT, EVENT, LF, NAME_AT, PAYLOAD_LIMIT, SseScanner

MODEL = "claude-sonnet-4-5"


def event(name: str, **fields: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def message_start(model: str = MODEL) -> bytes:
    usage = {"input_tokens": 11, "output_tokens": 1, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7}
    return event("message_start", message={"id": "msg_1", "model": model, "content": [], "usage": usage})


def delta(text: str = "hello") -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def message_delta(output: int = 42) -> bytes:
    return event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": output})


STOP = event("message_stop")
ERROR = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"secret"}}\n\n'


def stream(deltas: Iterable[str] = ("a", "b", "c")) -> bytes:
    return (
        message_start()
        + event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + b'event: ping\ndata: {"type": "ping"}\n\n'
        + b"".join(delta(text) for text in deltas)
        + event("content_block_stop", index=0)
        + message_delta()
        + STOP
    )


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(marks)]


def scan(chunks: Iterable[bytes]) -> SseScanner:
    scanner = SseScanner()
    for chunk in chunks:
        scanner.feed(chunk)
    return scanner


def seen(scanner: SseScanner) -> tuple[object, ...]:
    return (
        scanner.first_delta,
        scanner.complete,
        scanner.error,
        scanner.malformed,
        scanner.usage,
        scanner.model,
        scanner.stop_reason,
    )


def test_a_whole_stream_tells_model_usage_stop_reason_and_end() -> None:
    scanner = scan([stream()])
    assert seen(scanner) == (
        True,
        True,
        None,
        False,
        Usage(input=11, output=42, cache_read=5, cache_write=7),
        MODEL,
        "end_turn",
    )


# Content that looks like the protocol must not be taken for it.
hostile_text = st.lists(
    st.sampled_from(["event: message_stop", "event:", "data:", "\n", "\r", "event: error\n", "x", "ev", "\u2028", "é"])
).map("".join)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(hostile_text, max_size=8),
    st.lists(st.integers(0, 100_000), max_size=40),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([b"", ERROR, message_delta(), message_delta() + STOP, STOP[:-1], STOP[:-10], b"event: mess"]),
)
def test_any_cut_and_any_line_end_give_what_a_whole_decoder_sees(
    texts: list[str], places: list[int], newline: bytes, end: bytes
) -> None:
    data = (message_start() + b"".join(map(delta, texts)) + end).replace(b"\n", newline)
    scanner = scan(cut(data, places))
    assert seen(scanner) == seen(scan([data]))
    names = [found.name for chunk in [data] for found in SseEvents().feed(chunk)]
    assert scanner.complete == ("message_stop" in names)
    assert scanner.first_delta == ("content_block_delta" in names)
    assert (scanner.error is not None) == ("error" in names)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=200), max_size=20), st.lists(st.integers(0, 100_000), max_size=10))
def test_garbage_before_between_and_after_never_raises(pieces: list[bytes], places: list[int]) -> None:
    data = b"".join(piece + delta() for piece in pieces) + stream()
    assert seen(scan(cut(data, places))) == seen(scan([data]))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([b"e", b"event:", b" ", b"d", b"data:", b"error", b"\r", b"\n", b"{}", b":"])))
def test_streams_made_of_the_protocols_own_pieces_cut_anywhere_agree(pieces: list[bytes]) -> None:
    prefix = message_start() + delta()  # so that the fast way is taken
    assert seen(scan([prefix, *pieces])) == seen(scan([prefix + b"".join(pieces)]))


def test_one_byte_at_a_time_is_enough() -> None:
    data = stream()
    assert seen(scan(data[i : i + 1] for i in range(len(data)))) == seen(scan([data]))


def test_feed_says_when_something_was_learnt_and_only_then() -> None:
    scanner = SseScanner()
    events = [message_start(), delta(), delta(), b"event: ping\ndata: {}\n\n", message_delta(), STOP]
    assert [scanner.feed(part) for part in events] == [True, True, False, False, True, True]


@pytest.mark.parametrize("cut_at", range(1, len(ERROR)))
def test_an_error_event_is_found_wherever_a_chunk_ends(cut_at: int) -> None:
    scanner = scan([message_start() + delta(), ERROR[:cut_at], ERROR[cut_at:]])
    assert scanner.error == ApiError("overloaded_error")
    assert not scanner.complete


@pytest.mark.parametrize("name", ["message_stop", "error"])
def test_an_event_whose_name_ends_one_chunk_and_whose_data_begins_the_next_is_found(name: str) -> None:
    scanner = scan([message_start(), delta(), delta(), f"event: {name}\n".encode(), b"data: {}\n\n"])
    assert scanner.complete == (name == "message_stop")
    assert (scanner.error is not None) == (name == "error")


def test_an_event_without_its_empty_line_has_not_happened() -> None:
    assert not scan([stream()[:-1]]).complete


def test_names_without_a_space_and_fields_without_a_colon_follow_the_standard() -> None:
    assert scan([b"event:message_stop\ndata:{}\n\n"]).complete
    assert not scan([b"event: message_stop\nevent\ndata: {}\n\n"]).complete
    assert not scan([b"event:  message_stop\ndata: {}\n\n"]).complete  # one space is taken off, not two


@pytest.mark.parametrize("payload", [b"", b"data: {\n", b"data: []\n", b"data: " + b"[" * 60_000 + b"\n"])
def test_a_payload_that_cannot_be_read_is_told(payload: bytes) -> None:
    scanner = scan([b"event: message_start\n" + payload + b"\n"])
    assert scanner.malformed
    assert scanner.usage is None


def test_an_error_event_with_an_unreadable_payload_is_an_error_still() -> None:
    assert scan([b"event: error\ndata: oops\n\n"]).error == ApiError()


@pytest.mark.parametrize("size", [1, 10_000])
def test_no_end_comes_after_an_error(size: int) -> None:
    data = message_start() + delta() + ERROR + STOP
    scanner = scan(data[at : at + size] for at in range(0, len(data), size))
    assert scanner.error is not None
    assert not scanner.complete


def test_the_first_error_is_the_one_that_counts() -> None:
    second = ERROR.replace(b"overloaded_error", b"api_error")
    assert scan([ERROR + second]).error == ApiError("overloaded_error")


@pytest.mark.parametrize(
    "usage",
    [None, [], "x", {"input_tokens": -1}, {"input_tokens": True}, {"input_tokens": 1.5}, {"input_tokens": 1 << 60}],
)
def test_numbers_that_make_no_sense_are_not_believed(usage: object) -> None:
    scanner = scan([event("message_start", message={"model": 7, "usage": usage})])
    assert scanner.usage is None
    assert scanner.model is None


@pytest.mark.parametrize("message", [None, [], "x"])
def test_a_message_start_without_a_message_tells_nothing(message: object) -> None:
    assert not scan([event("message_start", message=message), event("message_delta", delta=message)]).malformed


def test_an_endless_line_or_payload_is_not_held() -> None:
    piece = b"x" * 65_536
    for prefix in (b"", b"data: ", b"event: ", b"event: message_start\ndata: ", b"event: message_start\nid: "):
        scanner = SseScanner()
        scanner.feed(prefix)
        for _ in range(64):
            scanner.feed(piece)
        assert len(scanner._line) <= PAYLOAD_LIMIT + 1
        scanner.feed(b"\n\n" + STOP)
        assert scanner.complete
        assert scanner.malformed == prefix.startswith(b"event: message_start")


def test_many_data_lines_of_one_event_are_not_held_either() -> None:
    scanner = SseScanner()
    scanner.feed(b"event: message_start\n")
    for _ in range(100):
        scanner.feed(b"data: " + b"x" * 4096 + b"\n")
    assert scanner._payload is not None
    assert len(scanner._payload) <= PAYLOAD_LIMIT
    scanner.feed(b"\n")
    assert scanner.malformed


def test_deltas_coalesced_at_4_kilobytes_are_read_like_single_ones() -> None:
    rng = random.Random(7)
    data = stream("token " * rng.randint(1, 9) for _ in range(200))
    assert seen(scan(data[i : i + 4096] for i in range(0, len(data), 4096))) == seen(scan([data]))


@pytest.mark.parametrize(
    "middle",
    [
        delta("event: content_block_delta") * 3,
        delta() + message_delta() + delta(),
        delta() + message_delta() + STOP + delta(),
        message_start("claude-other") + delta(),
        delta() + ERROR.replace(b"secret", b"event: content_block_delta"),
        delta() + b"event:error\ndata: {}\n\n",
        delta() + ERROR + delta(),
        delta() + b"event:message_stop\ndata: {}\n\n" + delta(),
    ],
)
def test_a_chunk_of_several_events_tells_what_its_events_tell_one_by_one(middle: bytes) -> None:
    events = [part + b"\n\n" for part in middle.split(b"\n\n")[:-1]]
    before = [message_start(), delta()]
    assert seen(scan([*before, middle])) == seen(scan([*before, *events])) == seen(scan([b"".join(before) + middle]))


def test_a_chunk_in_which_no_delta_ends_is_looked_at_once_only() -> None:
    """However often it names one; and what names one in its text is none."""
    text = json.dumps("event: content_block_delta\n\n" * 4000).encode()
    scanner = scan([b"data: " + text + b"\n\n", b"data: event: content_block_delta\n\n" * 4000])
    assert not scanner.first_delta
    assert scan([b"event: content_block_deltas\ndata: {}\n\n" * 4000 + delta() + STOP]).complete


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_chunk_that_need_not_be_fed_tells_nothing(data: st.DataObject) -> None:
    """Who asks the question himself that ``flows`` names sees the same as who feeds every chunk."""
    events = [
        message_start(),
        delta(),
        *data.draw(st.lists(st.sampled_from(PIECES), max_size=12)),
        message_delta(),
        STOP,
    ]
    whole = b"".join(events)
    places = data.draw(st.lists(st.integers(0, len(whole)), max_size=6))
    ends = [len(b"".join(events[:n])) for n in range(len(events))] if data.draw(st.booleans()) else []
    every, saving = SseScanner(), SseScanner()
    for chunk in cut(whole, [*places, *ends]):
        every.feed(chunk)
        single = len(chunk) > NAME_AT and chunk[-1] == LF and chunk[NAME_AT] == CONTENT and chunk.rfind(EVENT) == 0
        if not (saving.flows and single):
            saving.feed(chunk)
        assert (saving.first_delta, saving.complete, saving.error) == (every.first_delta, every.complete, every.error)
    assert seen(saving) == seen(every)


PIECES = (
    delta(),
    delta("event: message_stop"),
    delta().replace(b"\n", b"\r\n"),
    delta().replace(b"\n", b"\r"),
    b"event:content_block_delta\ndata: {}\n\n",
    b"event: content_block_delta\nevent: message_stop\ndata: {}\n\n",
    b"event: cevent: error\n\n",
    b"event: c\revent: error\n\n",
    b"event: c\n",
    b"event:\n",
    b"\n",
    message_delta(43),
    ERROR,
    event("ping"),
)


def test_payloads_are_not_kept_in_any_number_or_size_before_they_are_read() -> None:
    scanner = SseScanner()
    for n in range(100):
        scanner.feed(message_delta(n))
        assert len(scanner._unread) <= 9
    scanner.feed(event("message_delta", usage={"output_tokens": 500}, filler="x" * 8192))
    assert scanner._unread == []
    assert scanner.usage == Usage(output=500)
