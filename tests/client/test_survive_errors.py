"""The errors of a client with a policy: of the SDK's types, and silent about content."""

import copy
import pickle
import traceback
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.client.errors import (
    NOTHING,
    BreakerOpen,
    DeadlineExceeded,
    PartialMessage,
    StreamDeadlineExceeded,
    StreamInterrupted,
    StreamStalled,
    interrupted,
)
from sidecar.model import BreakerState, Outcome, Phase, Stage, classify_exception
from sidecar.policy import BreakerOpen as RefusedByBreaker
from sidecar.policy import DeadlineExceeded as RefusedByDeadline
from sidecar.wire.message import MessageBuilder

CANARY = "canary-7f3a"
REQUEST = httpx2.Request("POST", "https://api.anthropic.com/v1/messages")


def broken_off(*, with_tool: bool = False) -> PartialMessage:
    builder = MessageBuilder()
    usage = {"input_tokens": 9, "output_tokens": 2}
    builder.add({"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": usage}})
    builder.add({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    builder.add({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": CANARY}})
    if with_tool:
        tool = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
        builder.add({"type": "content_block_start", "index": 1, "content_block": tool})
        builder.add(
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{"}}
        )
    return PartialMessage.of(builder)


def every_error() -> list[Any]:
    told: dict[str, Any] = {"request": REQUEST, "partial": broken_off(), "request_id": "req_1"}
    return [
        DeadlineExceeded.refusing(RefusedByDeadline(0.2, 1.0), REQUEST),
        BreakerOpen.refusing(RefusedByBreaker("host/model", 3.0), REQUEST),
        StreamInterrupted("broke off", **told),
        StreamStalled("fell silent", phase=Phase.STALL, **told),
        StreamDeadlineExceeded("took too long", phase=Phase.DEADLINE, **told),
    ]


def test_existing_except_clauses_catch_them() -> None:
    deadline, breaker, broken, stalled, late = every_error()
    assert all(isinstance(error, anthropic.APIConnectionError) for error in every_error())
    assert [isinstance(error, anthropic.APITimeoutError) for error in every_error()] == [True, False, False, True, True]
    assert isinstance(deadline, sidecar.DeadlineExceeded)
    assert isinstance(breaker, sidecar.BreakerOpen)
    assert isinstance(late, sidecar.DeadlineExceeded)
    assert all(isinstance(error, sidecar.StreamInterrupted) for error in (broken, stalled, late))


def test_they_classify_as_what_they_are() -> None:
    verdicts = [classify_exception(error, Stage.STREAMING) for error in every_error()]
    assert [(each.outcome, each.phase) for each in verdicts] == [
        (Outcome.TIMEOUT, Phase.DEADLINE),
        (Outcome.REJECTED, None),
        (Outcome.TRUNCATED, None),
        (Outcome.TIMEOUT, Phase.STALL),
        (Outcome.TIMEOUT, Phase.DEADLINE),
    ]


def test_refusals_say_what_the_policy_said() -> None:
    deadline, breaker, *_ = every_error()
    assert (deadline.remaining, deadline.floor, deadline.phase) == (0.2, 1.0, Phase.DEADLINE)
    assert str(deadline) == deadline.message == str(RefusedByDeadline(0.2, 1.0))
    assert (breaker.name, breaker.retry_after, breaker.state) == ("host/model", 3.0, BreakerState.OPEN)
    assert str(breaker) == str(RefusedByBreaker("host/model", 3.0))
    assert breaker.request is REQUEST
    assert breaker.body is None


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("travel", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])  # noqa: S301  # our own bytes
def test_they_can_be_sent_to_another_process(number: int, travel: Any) -> None:
    error = every_error()[number]
    came = travel(error)
    assert type(came) is type(error)
    assert came.args == error.args
    assert came.__dict__.keys() == error.__dict__.keys()
    assert str(came) == str(error)
    assert getattr(came, "partial", None) == getattr(error, "partial", None)


def test_what_had_come_is_there_as_data() -> None:
    partial = broken_off(with_tool=True)
    assert partial.text == CANARY
    assert partial.content[0] == {"type": "text", "text": CANARY}
    assert partial.content[1]["input"] == {}
    assert partial.message["id"] == "msg_1"
    assert partial.usage is not None
    assert (partial.usage.input, partial.usage.output, partial.stop_reason) == (9, 2, None)


def test_of_a_stream_that_had_not_begun_there_is_nothing() -> None:
    assert PartialMessage.of(MessageBuilder()) == NOTHING


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_no_text_of_an_error_holds_content(error: Any) -> None:
    try:
        raise error
    except anthropic.APIConnectionError as caught:
        shown = "".join(traceback.format_exception(caught))
    for text in (shown, str(error), repr(error), repr(error.args), repr(getattr(error, "partial", None))):
        assert CANARY not in text


@pytest.mark.parametrize(
    ("phase", "kind"),
    [(None, StreamInterrupted), (Phase.STALL, StreamStalled), (Phase.DEADLINE, StreamDeadlineExceeded)],
)
def test_the_error_of_a_broken_stream_fits_what_happened(phase: Phase | None, kind: type[StreamInterrupted]) -> None:
    error = interrupted(request=REQUEST, partial=NOTHING, outcome=Outcome.TIMEOUT, phase=phase, request_id="req_1")
    assert type(error) is kind
    assert (error.phase, error.request_id, error.outcome) == (phase, "req_1", Outcome.TIMEOUT)
    assert "`partial`" in str(error)
