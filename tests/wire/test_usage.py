"""Usage and stop reason are found in bodies of any size, and nothing untrue is."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model import Usage
from sidecar.wire.usage import NO_ANSWER, WHOLE_LIMIT, Answer, merge_usage, read_body, read_message, read_tail

USAGE = {"input_tokens": 10, "output_tokens": 20, "cache_creation_input_tokens": 3, "cache_read_input_tokens": None}
EXPECTED = Answer(Usage(input=10, output=20, cache_write=3), "end_turn")


def message(text: str, **more: object) -> dict[str, object]:
    return {
        "id": "msg_1",
        "type": "message",
        "content": [{"type": "text", "text": text}, {"type": "tool_use", "input": {"usage": {"input_tokens": 999}}}],
        "stop_reason": "end_turn",
        "usage": USAGE,
        **more,
    }


def test_a_body_is_read_whole_when_it_is_small() -> None:
    assert read_body(json.dumps(message("hi")).encode()) == EXPECTED


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=200))
def test_a_long_body_is_read_from_its_end_whatever_it_says(text: str) -> None:
    body = json.dumps(message(('"usage":{"input_tokens":1} ' + text) * (WHOLE_LIMIT // 20)), ensure_ascii=False)
    assert len(body) > WHOLE_LIMIT
    assert read_body(body.encode()) == EXPECTED


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_told_apart(body: bytes) -> None:
    assert read_body(body) is None


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{}", b'{"usage": [], "stop_reason": 7}', b"null"])
def test_json_that_is_no_message_says_nothing(body: bytes) -> None:
    assert read_body(body) == NO_ANSWER


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_a_tail_may_be_anything(tail: bytes) -> None:
    read_tail(tail)
    read_tail(b'"usage":{' + tail)
    read_tail(b'"stop_reason":"' + tail)


def test_a_tail_that_begins_inside_the_usage_finds_none() -> None:
    assert read_tail(b'"output_tokens": 3}, "stop_reason": "max_tokens"}') == Answer(None, "max_tokens")


def test_later_counts_replace_earlier_ones_and_missing_ones_stay() -> None:
    first = merge_usage({"input_tokens": 5, "output_tokens": 1})
    assert merge_usage({"output_tokens": 9}, first) == Usage(input=5, output=9)
    assert merge_usage({"other": 1}, first) is first
    assert merge_usage(None, first) is first


def test_an_overlong_stop_reason_is_not_one() -> None:
    assert read_message({"stop_reason": "x" * 10_000}) == NO_ANSWER
