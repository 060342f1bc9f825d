"""Whether an answer is gone on with: the cases that a real stream hardly shows."""

from typing import Any

import pytest

from sidecar.client.long.course import Course, Next
from sidecar.client.long.results import Ending, Limit
from sidecar.client.long.resume import Resume
from sidecar.model import Outcome
from tests.client.long_events import Event, block, finish, said, start, text, thinks, turn


class RemoteProtocolError(Exception):
    """Named as HTTP libraries do."""


def course(*, max_turns: int = 9, shown: bool = False, **create: Any) -> Course:
    return Course({"messages": [], "max_tokens": 9} | create, Resume(max_turns=max_turns), shown=shown)


def read(one: Course, events: Any, error: Exception | None = None) -> Next:
    for event in events:
        list(one.take(event))
    return one.turn_over(error, "req")


def thoughts(stop: str | None) -> list[Event]:
    return [start(), *thinks(0), *(finish(stop) if stop else [])]


def test_thinking_that_used_up_the_tokens_is_not_tried_again() -> None:
    one = course()
    assert read(one, thoughts("max_tokens")) is Next.END
    assert one.limit is Limit.CONTENT


def test_thinking_that_broke_off_is_made_again_unless_somebody_has_seen_it() -> None:
    assert read(course(), thoughts(None)) is Next.GO_ON
    seen = course(shown=True)
    assert read(seen, thoughts(None)) is Next.FAIL
    assert seen.limit is Limit.CONTENT


def test_what_breaks_after_the_message_is_whole_breaks_nothing() -> None:
    one = course()
    assert read(one, turn("Hi"), RemoteProtocolError()) is Next.END
    assert (one.turns[0].ending, one.turns[0].error_type) == (Ending.WHOLE, None)


def test_events_that_contradict_one_another_break_the_stream_and_what_came_before_is_kept() -> None:
    one = course()
    with pytest.raises(ValueError, match="open") as refused:
        read(one, [*turn("Hi", stop=None), said(7, "x")])
    assert one.turn_over(refused.value, None) is Next.GO_ON
    assert (one.turns[0].outcome, one.joined.text) == (Outcome.SERVER_ERROR, "Hi")


def test_an_error_of_the_application_s_own_is_no_break_to_go_on_from() -> None:
    one = course()
    assert read(one, turn("Hi", stop=None), KeyError("mine")) is Next.FAIL
    assert (one.turns[0].outcome, one.turns[0].error_type, one.limit) == (Outcome.CLIENT_ERROR, "KeyError", None)


def test_a_format_is_one_whatever_else_the_output_is_told() -> None:
    assert read(course(output_config={"effort": "low"}), turn("Hi", stop="max_tokens")) is Next.GO_ON
    assert read(course(output_config={"format": {"type": "json_schema"}}), turn("Hi", stop="max_tokens")) is Next.END


def test_what_the_application_left_out_is_not_made_up() -> None:
    assert Course({"model": "m"}, Resume(max_turns=1, max_total_tokens=5), shown=False).ask() == {"model": "m"}


def test_a_blank_answer_that_stopped_at_max_tokens_is_not_asked_for_again() -> None:
    one = course()
    assert read(one, [start(), block(0, text()), *finish("max_tokens")]) is Next.END
    assert one.limit is Limit.CONTENT


def test_each_call_of_the_chain_may_take_all_the_time_that_is_left() -> None:
    one = Course({}, Resume(max_turns=1, deadline=100), shown=False)
    with one.scope() as limit:
        assert limit is not None
        assert getattr(limit, "share", None) == 1.0
    assert 90 < (one.seconds() or 0) <= 100
    assert course().seconds() is None
