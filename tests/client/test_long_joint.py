"""Where two turns of an answer meet: not a character is lost, told twice or made up."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.client.long.joint import CONTINUE, Continuation, continuation, joint, messages_after
from tests.client.long_events import SIGNED, text

UNSIGNED = {"type": "thinking", "thinking": "Hm", "signature": ""}
TOOL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
REDACTED = {"type": "redacted_thinking", "data": "xyz"}


@pytest.mark.parametrize(
    ("kept", "begun", "missing"),
    [
        ("", "", ""),
        ("", " ", " "),
        (" ", "", ""),
        (" ", " ", ""),
        ("\n", "\n\n", "\n"),
        ("\n\n", "\n", ""),
        (" \n", "\n  ", "  "),
        ("\n", " ", " "),
    ],
)
def test_whitespace_that_is_there_is_not_said_again(kept: str, begun: str, missing: str) -> None:
    assert joint(kept, begun) == missing


spaces = st.text(" \n\t", max_size=6)


@settings(deadline=None, max_examples=200)
@given(spaces, spaces)
def test_where_the_model_says_all_of_the_whitespace_again_the_joint_is_exact(kept: str, more: str) -> None:
    assert kept + joint(kept, kept + more) == kept + more


@settings(deadline=None, max_examples=100)
@given(spaces, spaces)
def test_nothing_is_added_that_the_continuation_did_not_begin_with(kept: str, begun: str) -> None:
    assert begun.endswith(joint(kept, begun))


def test_endless_whitespace_is_compared_up_to_a_bound() -> None:
    assert joint(" " * 100_000, " " * 100_000) == " " * (100_000 - 64)


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize(
    ("content", "unfinished", "sent"),
    [
        ([text("Hello \n")], {0}, [text("Hello")]),
        ([text("Hello")], set(), [text("Hello")]),
        ([SIGNED, text("Hello")], {1}, [SIGNED, text("Hello")]),
        ([REDACTED, text("Hello")], set(), [REDACTED, text("Hello")]),
        ([text("One"), text("Two")], {1}, [text("One"), text("Two")]),
        ([text("One"), text(" ")], {1}, [text("One")]),
        ([text(""), text("Two")], {1}, [text("Two")]),
        ([text("One "), SIGNED], set(), [text("One")]),
        ([text("Hi") | {"citations": [{"type": "char_location"}]}], set(), [text("Hi")]),
    ],
)
def test_text_goes_back_without_the_whitespace_it_ends_in_after_thinking_that_is_signed(
    content: list[dict[str, Any]], unfinished: set[int], sent: list[dict[str, Any]], *, shown: bool
) -> None:
    onward = continuation(content, unfinished, shown=shown)
    assert onward is not None
    assert (list(onward.sent), list(onward.kept)) == (sent, content)


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize(
    ("content", "unfinished"),
    [
        ([TOOL], {0}),
        ([TOOL], set()),
        ([text("I look it up."), TOOL], {1}),
        ([{"type": "server_tool_use"}, text("x")], {1}),
        ([UNSIGNED, text("x")], {1}),
        ([{"type": "text", "text": None}], set()),
        ([{"type": "of the future"}], set()),
    ],
)
def test_nothing_else_is_gone_on_with(content: list[dict[str, Any]], unfinished: set[int], *, shown: bool) -> None:
    assert continuation(content, unfinished, shown=shown) is None


@pytest.mark.parametrize("content", [[], [text("")], [text(" \n")]])
def test_where_nothing_was_said_the_request_is_made_again(content: list[dict[str, Any]]) -> None:
    assert continuation(content, {0}, shown=False) == Continuation([], [])
    assert continuation(content, {0}, shown=True) == Continuation(content, [])


@pytest.mark.parametrize(
    ("content", "unfinished", "kept"),
    [
        ([UNSIGNED], {0}, []),
        ([SIGNED], set(), []),
        ([SIGNED, UNSIGNED], {1}, []),
        ([text("One"), UNSIGNED], {1}, [text("One")]),
        ([text("One"), REDACTED], {1}, [text("One")]),
    ],
)
def test_thinking_that_is_not_whole_is_dropped_unless_somebody_has_seen_it(
    content: list[dict[str, Any]], unfinished: set[int], kept: list[dict[str, Any]]
) -> None:
    onward = continuation(content, unfinished, shown=False)
    assert onward is not None
    assert list(onward.kept) == list(onward.sent) == kept
    assert continuation(content, unfinished, shown=True) is None


def test_the_rest_is_asked_for_by_a_turn_of_each_and_never_by_a_prefill() -> None:
    asked = [{"role": "user", "content": "Hi"}]
    assert messages_after(asked, [text("He")], CONTINUE) == [
        *asked,
        {"role": "assistant", "content": [text("He")]},
        {"role": "user", "content": CONTINUE},
    ]
    assert messages_after(asked, [], CONTINUE) == asked
