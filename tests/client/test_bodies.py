"""What each kind of body tells, whole or in pieces, compressed or not."""

import gzip
import json
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.client.bodies import ERROR_LIMIT, Body, body_of
from sidecar.model import CANCELLED, OK, UNPARSABLE, Outcome, Phase, StreamEnd, Usage, Verdict

JSON: Mapping[bytes, bytes] = {b"content-type": b"application/json; charset=utf-8"}
ANSWER = json.dumps({"content": "x" * 9000, "stop_reason": "end_turn", "usage": {"input_tokens": 3}}).encode()


class ProtocolError(Exception):
    """Named as HTTP libraries do."""


def fed(  # what the seam does
    chunks: Iterable[bytes],
    headers: Mapping[bytes, bytes] = JSON,
    *,
    status: int = 200,
    stream: bool = False,
    messages: bool = True,
    decoded: bool = False,
) -> Body:
    body, feed = body_of(status, headers, messages=messages, stream=stream, decoded=decoded)
    for chunk in chunks:
        feed(chunk)
    return body


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12_000))
def test_a_json_answer_in_pieces_of_any_size_tells_its_usage(size: int) -> None:
    body = fed(ANSWER[at : at + size] for at in range(0, len(ANSWER), size))
    assert body.verdict(StreamEnd.EOF) == OK
    assert (body.usage, body.stop_reason) == (Usage(input=3), "end_turn")


def test_a_compressed_answer_is_looked_into_unless_it_comes_decoded() -> None:
    headers = {**JSON, b"content-encoding": b"gzip"}
    for body in (fed([gzip.compress(ANSWER)], headers), fed([ANSWER], headers, decoded=True)):
        assert body.verdict(StreamEnd.EOF) == OK
        assert body.usage == Usage(input=3)


def test_an_encoding_nobody_knows_hides_the_answer_but_not_its_end() -> None:
    headers = {**JSON, b"content-encoding": b"secret"}
    assert fed([b"???"], headers).verdict(StreamEnd.EOF) == OK
    assert fed([b"???"], headers, status=529).verdict(StreamEnd.EOF) == Verdict(Outcome.OVERLOADED)


@pytest.mark.parametrize("chunks", [[b"{"], [b"<html>"], [b""], [ANSWER[:5000], ANSWER[5000:-3]], [b"x", ANSWER]])
def test_what_is_no_json_cannot_be_parsed(chunks: list[bytes]) -> None:
    assert fed(chunks).verdict(StreamEnd.EOF) == UNPARSABLE


def test_an_answer_that_is_no_json_by_its_own_word_is_believed_elsewhere() -> None:
    page = {b"content-type": b"text/html"}
    assert fed([b"<html>"], page, messages=False).verdict(StreamEnd.EOF) == OK
    assert fed([b"<html>"], page, messages=True).verdict(StreamEnd.EOF) == UNPARSABLE
    assert fed([], JSON, status=204).verdict(StreamEnd.EOF) == OK


def test_a_body_that_was_left_is_cancelled_unless_all_of_it_had_come() -> None:
    length = {**JSON, b"content-length": str(len(ANSWER)).encode()}
    assert fed([ANSWER], length).verdict(StreamEnd.CLOSED) == OK
    assert fed([ANSWER[:-1]], length).verdict(StreamEnd.CLOSED) == CANCELLED
    assert fed([ANSWER]).verdict(StreamEnd.CLOSED) == CANCELLED
    assert fed([ANSWER], {**JSON, b"content-length": b"x"}).verdict(StreamEnd.CLOSED) == CANCELLED


def test_a_cut_answer_is_a_broken_connection_and_a_cut_stream_a_truncated_one() -> None:
    assert fed([b"{"]).verdict(StreamEnd.EOF, ProtocolError()).outcome is Outcome.CONNECTION_ERROR
    for messages in (True, False):
        assert (
            fed([b"{"], stream=True, messages=messages).verdict(StreamEnd.EOF, ProtocolError()).outcome
            is Outcome.TRUNCATED
        )


def test_other_streams_have_no_end_event_to_miss() -> None:
    for kind in (b"application/x-jsonl", b"text/event-stream; charset=utf-8"):
        lines = fed([b"event: x\n\n"], {b"content-type": kind}, stream=True, messages=False)
        assert lines.verdict(StreamEnd.EOF) == OK
        assert fed([], {b"content-type": kind}, stream=True, messages=False).verdict(StreamEnd.CLOSED) == CANCELLED


def test_an_error_inside_another_stream_of_events_is_what_its_type_stands_for() -> None:
    chunks = [b'event: x\ndata: {}\n\nevent: error\ndata: {"error":{"type":"overloaded_error"}}\n\n']
    body = fed(chunks, {b"content-type": b"text/event-stream"}, stream=True, messages=False)
    assert body.verdict(StreamEnd.CLOSED) == Verdict(Outcome.OVERLOADED, None, "overloaded_error")


@pytest.mark.parametrize(
    ("status", "kind", "outcome", "phase"),
    [
        (400, "invalid_request_error", Outcome.CLIENT_ERROR, None),
        (504, "timeout_error", Outcome.TIMEOUT, Phase.GATEWAY),
        (529, "overloaded_error", Outcome.OVERLOADED, None),
    ],
)
@pytest.mark.parametrize("end", StreamEnd)
def test_an_error_says_its_type_and_its_status_speaks_however_it_ended(
    status: int, kind: str, outcome: Outcome, phase: Phase | None, end: StreamEnd
) -> None:
    body = fed([b'{"error": {"type":', f'"{kind}", "message": "secret"}}}}'.encode()], status=status)
    assert body.verdict(end, ProtocolError()) == Verdict(outcome, phase, kind)
    assert fed([], status=status).verdict(end) == Verdict(outcome, phase)
    assert body.usage is None


def test_an_endless_error_is_not_held() -> None:
    body, feed = body_of(500, {}, messages=True, stream=False, decoded=True)
    for _ in range(100):
        feed(b"x" * 10_000)
    assert len(vars(body)["_held"]) == ERROR_LIMIT


def test_a_stream_that_could_not_be_decoded_is_the_servers_fault() -> None:
    body = fed([b"event: content_block_delta\ndata: {\n\n"], stream=True)
    assert body.verdict(StreamEnd.CLOSED, ValueError()) == Verdict(Outcome.SERVER_ERROR, error_type="ValueError")
    assert fed([b"event: message_start\ndata: {\n\n"], stream=True).verdict(StreamEnd.EOF) == UNPARSABLE


def test_an_end_that_came_with_what_could_not_be_decoded_does_not_save_the_stream() -> None:
    body = fed([b"event: content_block_delta\ndata: {\n\nevent: message_stop\ndata: {}\n\n"], stream=True)
    assert body.verdict(StreamEnd.CLOSED, ValueError()) == Verdict(Outcome.SERVER_ERROR, error_type="ValueError")
