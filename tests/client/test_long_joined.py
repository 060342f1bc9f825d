"""The events of several turns make one stream: one beginning, one end, blocks counted through, usage summed."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.client.long.joined import Joined, summed
from sidecar.model import Usage
from sidecar.wire.message import MalformedStream, MessageBuilder
from tests.client.long_events import SIGNED, block, delta, end, finish, said, start, text, thinks, turn

Event = Mapping[str, Any]
TOOL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


def take(joined: Joined, events: Iterable[Event]) -> list[Event]:
    return [out for event in events for out in joined.take(event)]


def join(*turns: Iterable[Event], shown: bool = True) -> tuple[Joined, list[Event]]:
    """Go on after every turn but the last."""
    joined, told = Joined(shown=shown), list[Event]()
    for number, events in enumerate(turns):
        if number:
            onward = joined.continuation()
            assert onward is not None
            joined.go_on(onward)
        told += take(joined, events)
    return joined, [*told, *joined.finish()]


def rebuilt(events: Iterable[Event]) -> dict[str, Any]:
    builder = MessageBuilder()
    for event in events:
        builder.add(event)
    assert builder.complete
    assert builder.open == set()
    return builder.message()


def test_one_turn_passes_as_it_is() -> None:
    events = [start(), {"type": "ping"}, *thinks(0), block(1, text()), said(1, "Hello"), end(1), *finish("end_turn")]
    joined, told = join(events)
    assert told == events
    assert joined.message()["usage"] == {"input_tokens": 5, "output_tokens": 9}
    assert rebuilt(told) == joined.message()
    assert joined.stop_reason == "end_turn"


@pytest.mark.parametrize("stop", ["max_tokens", None])
@pytest.mark.parametrize("shown", [True, False])
def test_text_goes_on_in_the_same_block(stop: str | None, *, shown: bool) -> None:
    joined, told = join(turn("Hel", stop=stop), turn("lo ", "wor", stop=stop), turn("world"), shown=shown)
    kinds = [event["type"] for event in told]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert {event["index"] for event in told if "index" in event} == {0}
    assert rebuilt(told) == joined.message()
    assert joined.text == "Hello worworld"
    assert joined.message()["usage"]["input_tokens"] == 15


def test_usage_is_summed_over_all_turns_as_far_as_it_was_told() -> None:
    joined, told = join(turn("a", stop="max_tokens"), turn("b", stop=None), turn("c"))
    assert joined.message()["usage"] == {"input_tokens": 15, "output_tokens": 9 + 1 + 9}
    assert joined.turn_usage == Usage(input=5, output=9)
    assert told[-2]["usage"] == joined.message()["usage"]


def test_the_message_is_the_firsts_and_its_end_the_lasts() -> None:
    second = [start(id_="msg_2"), *list(turn("b", stop="stop_sequence"))[1:]]
    message = rebuilt(join(turn("a", stop=None), second)[1])
    assert (message["id"], message["stop_reason"]) == ("msg_1", "stop_sequence")


@pytest.mark.parametrize("shown", [True, False])
def test_whitespace_at_the_joint_is_told_once_however_it_is_cut(*, shown: bool) -> None:
    joined, told = join(turn("One.\n", stop=None), turn("\n", "\n ", "Two."), shown=shown)
    assert joined.text == "One.\n\n Two."
    assert rebuilt(told)["content"] == [text("One.\n\n Two.")]


def test_a_continuation_of_nothing_but_whitespace_adds_nothing() -> None:
    joined, told = join(turn("One.", stop=None), turn("\n\n"))
    assert rebuilt(told)["content"] == joined.message()["content"] == [text("One.")]


@pytest.mark.parametrize("shown", [True, False])
def test_a_continuation_that_thinks_first_makes_blocks_of_its_own(*, shown: bool) -> None:
    second = [start(), *thinks(0), block(1, text()), said(1, "two"), end(1), *finish("end_turn")]
    joined, told = join(turn("One ", stop="max_tokens"), second, shown=shown)
    assert rebuilt(told)["content"] == joined.message()["content"] == [text("One "), SIGNED, text("two")]
    stops = [event["index"] for event in told if event["type"] == "content_block_stop"]
    assert stops == [0, 1, 2]


@pytest.mark.parametrize("shown", [True, False])
def test_a_continuation_after_thinking_counts_on(*, shown: bool) -> None:
    first = [start(), *thinks(0), block(1, text()), said(1, "On")]
    second = [*list(turn("e"))[:-2], block(1, TOOL), delta(1, "input_json_delta", "partial_json", "{}"), end(1)]
    joined, told = join(first, [*second, *finish("tool_use")], shown=shown)
    assert rebuilt(told)["content"] == joined.message()["content"] == [SIGNED, text("One"), TOOL]


def test_a_continuation_goes_on_after_thinking_that_nobody_may_take_back() -> None:
    first = [*list(turn("One", stop="max_tokens"))[:-2], *thinks(1)]
    joined, told = join(first, turn("Two"))
    assert rebuilt(told)["content"] == joined.message()["content"] == [text("One"), SIGNED, text("Two")]


@pytest.mark.parametrize("first", [[start()], [start(), block(0, text())], [start(), block(0, text()), said(0, "\n")]])
@pytest.mark.parametrize("shown", [True, False])
def test_a_turn_that_said_nothing_is_told_once_all_the_same(first: list[Event], *, shown: bool) -> None:
    joined, told = join(first, turn("\nHello"), shown=shown)
    if shown:
        assert rebuilt(told)["content"] == joined.message()["content"]
    assert joined.text == "\nHello"
    assert joined.message()["usage"]["input_tokens"] == 10


def test_a_turn_that_broke_before_it_began_leaves_no_trace() -> None:
    joined, told = join([], turn("Hello"), shown=False)
    assert rebuilt(told) == joined.message()
    assert joined.message()["usage"] == {"input_tokens": 5, "output_tokens": 9}


def test_thinking_that_was_not_whole_is_taken_back_where_nobody_has_seen_it() -> None:
    joined, _ = join([start(), *thinks(0)[:-1]], [start(), *thinks(0), *list(turn("Hi", index=1))[1:]], shown=False)
    assert joined.message()["content"] == [SIGNED, text("Hi")]


def test_a_text_that_begins_in_its_block_start_is_joined_too() -> None:
    second = [start(), block(0, text("\nTwo")), end(0), *finish("end_turn")]
    assert join(turn("One\n", stop=None), second)[0].text == "One\nTwo"


def test_events_nobody_knows_pass() -> None:
    news = {"type": "of the future", "index": "x"}
    assert take(Joined(shown=True), [start(), news])[-1] is news


@pytest.mark.parametrize("event", [{"type": "content_block_stop"}, {"type": "content_block_start", "index": True}])
def test_an_event_of_no_block_is_refused(event: Event) -> None:
    joined = Joined(shown=True)
    take(joined, [start()])
    with pytest.raises(MalformedStream):
        take(joined, [event])


words = st.text("ab \n", min_size=1, max_size=40)


@settings(deadline=None, max_examples=150)
@given(words, st.lists(st.integers(0, 12), max_size=6), st.booleans(), st.booleans())
def test_a_model_that_goes_on_exactly_gives_exactly_its_text(
    whole: str, lengths: list[int], broken: bool, shown: bool
) -> None:
    """Cut anywhere, in words and in whitespace: the model continues after what it was sent, to the last character."""
    joined, told = Joined(shown=shown), list[Event]()
    sent = ""
    for length in lengths:
        told += take(joined, turn(*whole[len(sent) :][:length], stop=None if broken else "max_tokens"))
        onward = joined.continuation()
        assert onward is not None
        sent = "".join(part["text"] for part in onward.sent)
        assert whole.startswith(sent)
        joined.go_on(onward)
    told += take(joined, turn(*whole[len(sent) :]))
    told += joined.finish()
    assert joined.text.rstrip() == whole.rstrip()
    assert whole.startswith(joined.text)
    if shown:
        assert rebuilt(told)["content"] == joined.message()["content"]


def test_numbers_are_summed_through_and_of_the_rest_the_later_counts() -> None:
    one = {"a": 1, "deep": {"b": 2, "flag": True}, "tier": "standard", "gone": 3, "none": None}
    other = {"a": 4, "deep": {"b": 5, "flag": False}, "tier": "priority", "gone": None, "none": None, "new": 6}
    assert summed(one, other) == {
        "a": 5,
        "deep": {"b": 7, "flag": False},
        "tier": "priority",
        "gone": 3,
        "none": None,
        "new": 6,
    }
