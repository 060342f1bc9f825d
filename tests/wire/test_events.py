"""Whole events come out the same however the stream is cut, and never grow without bound."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.wire.events import Event, EventTooLong, SseEvents


def decode(chunks: Iterable[bytes]) -> list[Event]:
    events = SseEvents()
    return [event for chunk in chunks for event in events.feed(chunk)]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([b"event: a\n", b"data: 1\n", b"data:2\r\n", b"\n", b"\r\n", b"\r", b": note\n", b"x"])),
    st.integers(1, 7),
)
def test_any_cut_gives_the_same_events(lines: list[bytes], size: int) -> None:
    data = b"".join(lines)
    assert decode(data[i : i + size] for i in range(0, len(data), size)) == decode([data])


def test_data_lines_are_joined_and_comments_and_other_fields_passed_over() -> None:
    assert decode([b": hi\nevent: a\nid: 7\ndata: 1\ndata:  2\n\n\n\nevent: b\n\n"]) == [
        Event("a", b"1\n 2"),
        Event("b", b""),
    ]


def test_only_a_json_object_decodes() -> None:
    assert Event("a", b'{"x": 1}').decoded() == {"x": 1}
    assert Event("a", b"[1]").decoded() is None
    assert Event("a", b"{").decoded() is None


@pytest.mark.parametrize("piece", [b"x" * 10, b"data: x\n", b"event: x\n"])
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    events = SseEvents(limit=1000)

    def feed() -> None:
        for _ in range(1000):
            list(events.feed(piece))

    with pytest.raises(EventTooLong, match="longer than 1000 bytes"):
        feed()


def test_the_limit_is_one_events_not_the_streams() -> None:
    assert len(decode([b"event: a\ndata: 1\n\n" * 100])) == 100
    events = SseEvents(limit=1000)
    assert sum(len(list(events.feed(b"event: a\ndata: 1\n\n"))) for _ in range(1000)) == 1000
