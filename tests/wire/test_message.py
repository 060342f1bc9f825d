"""A message put together from its events equals the SDK's own, at every moment of the stream."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model import Usage
from sidecar.wire.message import MAX_BLOCKS, MalformedStream, MessageBuilder

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
}


CITATION = {
    "type": "char_location",
    "cited_text": "x",
    "document_index": 0,
    "document_title": None,
    "file_id": None,
    "start_char_index": 0,
    "end_char_index": 1,
}


def block(index: int, kind: str, **fields: object) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def delta(index: int, kind: str, **fields: object) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


FINISH: dict[str, Any] = {
    "type": "message_delta",
    "delta": {"stop_reason": "tool_use", "stop_sequence": None},
    "usage": {"output_tokens": 9, "input_tokens": None},
}
STOP: dict[str, Any] = {"type": "message_stop"}
STREAM = [
    START,
    {"type": "ping"},
    block(0, "thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="Let me "),
    delta(0, "thinking_delta", thinking="see."),
    delta(0, "signature_delta", signature="sig"),
    stop(0),
    block(1, "text", text=""),
    delta(1, "text_delta", text="Hel"),
    delta(1, "text_delta", text="lo"),
    delta(1, "citations_delta", citation=CITATION),
    delta(1, "future_delta", anything=1),
    stop(1),
    block(2, "tool_use", id="t", name="f", input={}),
    delta(2, "input_json_delta", partial_json='{"a"'),
    delta(2, "input_json_delta", partial_json=": 1}"),
    stop(2),
    FINISH,
    STOP,
]


def build(events: list[dict[str, Any]]) -> MessageBuilder:
    builder = MessageBuilder()
    for event in events:
        builder.add(event)
    return builder


def test_a_whole_stream_makes_the_message() -> None:
    builder = build(STREAM)
    message = builder.message()
    assert message["content"] == [
        {"type": "thinking", "thinking": "Let me see.", "signature": "sig"},
        {"type": "text", "text": "Hello", "citations": [CITATION]},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ]
    assert (builder.text, builder.stop_reason, builder.complete) == ("Hello", "tool_use", True)
    assert builder.usage == Usage(input=3, output=9)
    assert message["usage"] == {"input_tokens": 3, "output_tokens": 9}


def test_the_sdk_puts_the_same_together() -> None:
    from anthropic.types import Message

    assert Message.model_validate(build(STREAM).message()).to_dict()["content"] == build(STREAM).message()["content"]


def test_what_betas_add_is_put_in_its_place() -> None:
    edits: dict[str, Any] = {"applied_edits": []}
    message = build(
        [
            START,
            block(0, "compaction", content=None, encrypted_content=None),
            delta(0, "compaction_delta", content="short", encrypted_content="x"),
            stop(0),
            {**FINISH, "context_management": edits},
        ]
    ).message()
    assert message["content"] == [{"type": "compaction", "content": "short", "encrypted_content": "x"}]
    assert message["context_management"] == edits


def test_a_broken_stream_leaves_what_it_had() -> None:
    builder = build(STREAM[:9])
    assert (builder.text, builder.complete, builder.stop_reason) == ("Hel", False, None)
    assert build(STREAM[:15]).message()["content"][2]["input"] == {}
    assert not MessageBuilder().started
    assert MessageBuilder().message() == {"content": []}


def test_a_tool_use_that_the_end_of_the_answer_cut_short_has_no_input() -> None:
    cut = FINISH | {"delta": {"stop_reason": "max_tokens"}}
    torn = build([START, block(0, "tool_use", input={}), delta(0, "input_json_delta", partial_json="{"), stop(0)])
    torn.add(cut)
    torn.add(STOP)
    assert (torn.complete, torn.message()["content"]) == (True, [{"type": "tool_use", "input": {}}])


def test_what_only_the_beta_api_sends_is_kept() -> None:
    finish = FINISH | {"context_management": {"applied_edits": []}, "input_transformations": None}
    compaction = delta(0, "compaction_delta", content="short", encrypted_content="x")
    fallback = block(1, "fallback", to={"model": "claude-other"})
    message = build([START, block(0, "compaction"), compaction, stop(0), fallback, stop(1), finish, STOP]).message()
    assert message["content"][0] == {"type": "compaction", "content": "short", "encrypted_content": "x"}
    assert message["model"] == "claude-other"
    assert message["context_management"] == {"applied_edits": []}
    assert "input_transformations" not in message


def test_blocks_are_open_until_they_stop() -> None:
    assert [sorted(build(STREAM[:end]).open) for end in (1, 3, 7, 8)] == [[], [0], [], [1]]


def test_what_was_handed_out_does_not_change_later() -> None:
    builder = build(STREAM[:9])
    before = builder.message()
    for event in STREAM[9:]:
        builder.add(event)
    assert before["content"][1]["text"] == "Hel"
    assert START["message"]["content"] == []


def test_a_start_that_holds_content_already_goes_on_from_it() -> None:
    start = {"type": "message_start", "message": {"content": [{"type": "text", "text": "A"}, 7]}}
    assert build([start]).text == "A"


@pytest.mark.parametrize(
    "events",
    [
        [{"type": "message_start", "message": None}],
        [START, START],
        [block(0, "text")],
        [START, block(1, "text")],
        [START, {"type": "content_block_start", "index": 0}],
        [START, delta(0, "text_delta", text="x")],
        [START, block(0, "text"), delta(0, "text_delta", text=7)],
        [START, block(0, "text"), {"type": "content_block_delta", "index": 0}],
        [START, block(0, "text"), {"type": "content_block_delta", "index": True, "delta": {}}],
        [START, stop(0)],
        [START, block(0, "tool_use"), delta(0, "input_json_delta", partial_json="{"), stop(0), FINISH, STOP],
        [FINISH],
        [STOP],
        [START, *(block(i, "text") for i in range(MAX_BLOCKS + 1))],
    ],
)
def test_events_that_contradict_one_another_are_refused(events: list[dict[str, Any]]) -> None:
    with pytest.raises(MalformedStream):
        build(events)


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from([event["type"] for event in STREAM])},
            optional={
                "index": st.integers(-1, 2) | json_value,
                "delta": st.fixed_dictionaries(
                    {"type": st.sampled_from(["text_delta", "input_json_delta", "citations_delta"])},
                    optional={"text": json_value, "partial_json": st.text(max_size=3)},
                )
                | json_value,
                "content_block": st.fixed_dictionaries({"type": st.just("text")}, optional={"text": json_value})
                | json_value,
                "usage": json_value,
            },
        ),
        max_size=8,
    )
)
def test_hostile_events_are_refused_or_taken_but_never_break_the_builder(events: list[dict[str, Any]]) -> None:
    builder = build([START])
    for event in events:
        try:
            builder.add(event)
        except MalformedStream:
            continue
    builder.message()
    assert isinstance(builder.text, str)
