"""complete(): whatever stops or breaks an answer, one message comes back, and every call is in the records."""

import asyncio
import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.chaos import Chaos
from sidecar.client.errors import StreamDeadlineExceeded, StreamInterrupted
from sidecar.client.long.joint import CONTINUE
from sidecar.client.long.results import Ending, Limit
from sidecar.model import Outcome
from sidecar.policy import Policy, Retry, SettingsError

Complete = Callable[..., sidecar.Completed]
OK = "ok;tokens=100;continue"
CANARY = "CANARY-7f3a"


def _put_under_policy(client: Any, options: dict[str, Any]) -> None:
    under = options.pop("under", None)
    if under:
        sidecar.instrument(client, **under)


def _sync(chaos: Chaos, **options: Any) -> sidecar.Completed:
    hooks = {"request": [options.pop("hook")]} if "hook" in options else {}
    with (
        httpx2.Client(event_hooks=hooks) as http,
        anthropic.Anthropic(base_url=chaos.url, api_key="k", http_client=http, max_retries=0) as client,
    ):
        _put_under_policy(client, options)
        return sidecar.complete(client, **options)


def _async(chaos: Chaos, **options: Any) -> sidecar.Completed:
    hook = options.pop("hook", None)

    async def noted(request: httpx2.Request) -> None:
        hook(request)

    async def run() -> sidecar.Completed:
        async with (
            httpx2.AsyncClient(event_hooks={"request": [noted]} if hook else {}) as http,
            anthropic.AsyncAnthropic(base_url=chaos.url, api_key="k", http_client=http, max_retries=0) as client,
        ):
            _put_under_policy(client, options)
            return await sidecar.complete(client, **options)

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def complete(request: pytest.FixtureRequest, chaos: Chaos, ask: dict[str, Any]) -> Complete:
    """Complete the same request with a client of either kind, which tries nothing again by itself."""

    def run(**options: Any) -> sidecar.Completed:
        answer: sidecar.Completed = request.param(chaos, **{**ask, **options})
        return answer

    return run


@pytest.fixture
def whole(sync_client: anthropic.Anthropic, ask: dict[str, Any], chaos: Chaos) -> str:
    """Give what the fake API has to say in 100 tokens."""
    message = sync_client.messages.create(**ask | {"max_tokens": 100}, extra_headers={"x-chaos": "ok;tokens=100"})
    chaos.settled()
    chaos.reset()
    return "".join(block.text for block in message.content if block.type == "text")


def test_an_answer_that_is_whole_takes_one_call(complete: Complete, whole: str, chaos: Chaos, installed: Any) -> None:
    chaos.enqueue(OK)
    done = complete(max_tokens=100)
    assert (done.text, done.finished, done.limit, done.resumed) == (whole, True, None, ())
    (turn,) = done.turns
    assert (turn.ending, turn.outcome, turn.stop_reason) == (Ending.WHOLE, Outcome.OK, "end_turn")
    assert done.message._request_id == turn.request_id == installed.one.request_id
    assert done.message.usage.output_tokens == 100
    installed.agree(chaos, calls=1)


def test_an_answer_that_stopped_at_max_tokens_is_continued(
    complete: Complete, whole: str, chaos: Chaos, installed: Any
) -> None:
    chaos.enqueue(f"{OK} x3")
    done = complete(max_tokens=40)
    assert done.text == whole
    assert [block.type for block in done.message.content] == ["text"]
    assert (done.message.stop_reason, done.message.usage.output_tokens) == ("end_turn", 100)
    assert [turn.ending for turn in done.turns] == [Ending.MAX_TOKENS, Ending.MAX_TOKENS, Ending.WHOLE]
    assert done.resumed == done.turns[:2]
    truth = installed.agree(chaos, calls=3)
    assert done.message.usage.input_tokens == sum(attempt.input_tokens or 0 for attempt in truth)
    assert [turn.request_id for turn in done.turns] == [attempt.request_id for attempt in truth]
    assert all(call.stream and call.outcome is Outcome.OK for call in installed.calls)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("truncate", Outcome.TRUNCATED),
        ("truncate-clean", Outcome.TRUNCATED),
        ("reset;when=after-headers", Outcome.TRUNCATED),
        ("error-event", Outcome.OVERLOADED),
        ("error-event;type=rate_limit_error", Outcome.RATE_LIMITED),
        ("malformed-json", Outcome.SERVER_ERROR),
        ("malformed-sse", Outcome.SERVER_ERROR),
    ],
)
def test_an_answer_that_broke_off_is_continued(
    fault: str, outcome: Outcome, complete: Complete, whole: str, chaos: Chaos, installed: Any
) -> None:
    chaos.enqueue(f"{fault};after=5;tokens=100;continue,{OK}")
    done = complete(max_tokens=200)
    assert done.text == whole
    assert [(turn.ending, turn.outcome) for turn in done.turns] == [
        (Ending.BROKEN, outcome),
        (Ending.WHOLE, Outcome.OK),
    ]
    assert done.finished
    installed.agree(chaos, calls=2)
    assert [call.outcome for call in installed.calls] == [outcome, Outcome.OK]


def test_a_stall_is_a_break_too(complete: Complete, whole: str, chaos: Chaos, installed: Any) -> None:
    chaos.enqueue(f"stall;after=5;tokens=100;continue,{OK}")
    done = complete(max_tokens=200, timeout=0.5)
    assert (done.text, done.turns[0].outcome) == (whole, Outcome.TIMEOUT)
    installed.agree(chaos, calls=2)


@pytest.mark.parametrize("after", [0, 1, 7])
def test_where_nothing_had_been_said_the_request_is_made_again(
    after: int, complete: Complete, whole: str, chaos: Chaos
) -> None:
    """With thinking, which comes first, there may be a lot that is not worth keeping."""
    chaos.enqueue(f"truncate;after={after};tokens=100;continue,{OK}")
    asked: list[Any] = []
    done = complete(max_tokens=2000, thinking={"type": "adaptive"}, hook=lambda request: asked.append(request.content))
    assert [block.type for block in done.message.content] == ["thinking", "text"]
    assert whole.startswith(done.text)
    assert json.loads(asked[0])["messages"] == json.loads(asked[1])["messages"]


def test_what_is_sent_is_a_whole_turn_and_a_question_after_it(complete: Complete, chaos: Chaos, ask: Any) -> None:
    """No prefill; no whitespace at the end; thinking only with its signature."""
    chaos.enqueue(f"truncate;after=14;tokens=100;continue,{OK}")
    asked: list[Any] = []
    question = iter(ask["messages"])  # an iterator is read once
    complete(
        max_tokens=2000,
        thinking={"type": "adaptive"},
        messages=question,
        hook=lambda request: asked.append(json.loads(request.content)["messages"]),
    )
    assert asked[0] == ask["messages"]
    assert asked[1][:1] == ask["messages"]
    partial, go_on = asked[1][1:]
    assert (partial["role"], go_on) == ("assistant", {"role": "user", "content": CONTINUE})
    thinking, text = partial["content"]
    assert set(thinking) == {"type", "thinking", "signature"}
    assert text["text"] == text["text"].strip() != ""


def test_the_question_may_be_asked_in_other_words(complete: Complete, chaos: Chaos) -> None:
    chaos.enqueue(f"{OK} x2")
    asked: list[Any] = []
    complete(max_tokens=60, prompt="Weiter.", hook=lambda request: asked.append(json.loads(request.content)))
    assert asked[1]["messages"][-1]["content"] == "Weiter."


@pytest.mark.parametrize("stop", ["refusal", "pause_turn", "end_turn", "stop_sequence"])
def test_an_answer_that_ended_for_another_reason_is_left_alone(stop: str, complete: Complete, chaos: Chaos) -> None:
    chaos.enqueue(f"ok;stop={stop}")
    done = complete()
    assert (done.message.stop_reason, done.finished, len(done.turns)) == (stop, True, 1)


TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}


def test_a_tool_use_ends_it(complete: Complete, chaos: Chaos) -> None:
    done = complete(tools=[TOOL])
    assert (done.finished, done.message.stop_reason) == (True, "tool_use")
    assert [block.type for block in done.message.content] == ["tool_use"]
    assert len(chaos.settled()) == 1


def test_a_tool_use_that_was_cut_short_is_not_made_again(complete: Complete, chaos: Chaos) -> None:
    chaos.enqueue("ok;stop=max_tokens")
    done = complete(tools=[TOOL])
    assert (done.finished, done.limit, len(chaos.settled())) == (False, Limit.CONTENT, 1)
    chaos.enqueue("truncate;after=1")
    with pytest.raises(StreamInterrupted) as broken:
        complete(tools=[TOOL])
    assert [block["type"] for block in broken.value.partial.content] == ["tool_use"]
    assert len(chaos.settled()) == 2


def test_an_answer_of_a_fixed_format_is_not_continued(complete: Complete, chaos: Chaos) -> None:
    """Its continuation would have to have the whole format again."""
    formatted: Any = {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}
    chaos.enqueue("ok;stop=max_tokens,truncate;after=1")
    assert complete(**formatted).limit is Limit.CONTENT
    with pytest.raises(StreamInterrupted):
        complete(**formatted)
    assert len(chaos.settled()) == 2


def test_turns_are_bounded(complete: Complete, whole: str, chaos: Chaos) -> None:
    chaos.enqueue(f"{OK} x9")
    done = complete(max_tokens=20, max_turns=3)
    assert (len(done.turns), done.finished, done.limit) == (3, False, Limit.TURNS)
    assert (done.message.stop_reason, done.message.usage.output_tokens) == ("max_tokens", 60)
    assert whole.startswith(done.text)


def test_tokens_are_bounded_through_all_turns(complete: Complete, chaos: Chaos) -> None:
    chaos.enqueue(f"{OK} x9")
    done = complete(max_tokens=40, max_total_tokens=50)
    assert (done.finished, done.limit) == (False, Limit.TOKENS)
    assert [turn.usage.output for turn in done.turns if turn.usage] == [40, 10]


def test_what_a_broken_turn_did_not_tell_is_estimated(complete: Complete, chaos: Chaos) -> None:
    chaos.enqueue(f"truncate;after=9;tokens=100;continue,{OK} x2")
    asked: list[Any] = []
    complete(max_tokens=40, max_total_tokens=60, hook=lambda request: asked.append(json.loads(request.content)))
    assert [request["max_tokens"] for request in asked[:2]] == [40, 60 - 35]


def test_thinking_needs_more_tokens_than_it_may_think(complete: Complete, chaos: Chaos) -> None:
    chaos.enqueue(f"{OK};stop=max_tokens x9")
    done = complete(
        model="claude-haiku-4-5",
        max_tokens=1100,
        max_total_tokens=1120,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert (done.limit, len(done.turns)) == (Limit.TOKENS, 1)


def test_an_answer_that_breaks_off_for_good_leaves_what_all_its_turns_gave(
    complete: Complete, whole: str, chaos: Chaos, installed: Any
) -> None:
    chaos.enqueue("truncate;after=5;tokens=100;continue,error-event;after=5;tokens=100;continue")
    with pytest.raises(StreamInterrupted) as broken:
        complete(max_tokens=200, max_turns=2)
    error = broken.value
    assert whole.startswith(error.partial.text)
    assert len(error.partial.text) > len(whole) / 3
    assert (error.outcome, error.request_id) == (Outcome.OVERLOADED, chaos.settled()[1].request_id)
    assert isinstance(error.__cause__, anthropic.APIStatusError)
    assert error.partial.usage is not None
    assert error.partial.usage.input == sum(attempt.input_tokens or 0 for attempt in chaos.settled())
    installed.agree(chaos, calls=2)


def test_an_end_without_its_message_stop_is_no_success(complete: Complete, whole: str, chaos: Chaos) -> None:
    """The SDK takes it for one."""
    chaos.enqueue("truncate-clean;after=5;tokens=100")
    with pytest.raises(StreamInterrupted, match="broke off") as broken:
        complete(max_turns=1)
    assert (broken.value.outcome, broken.value.__cause__) == (Outcome.TRUNCATED, None)
    assert whole.startswith(broken.value.partial.text)


def test_a_continuation_that_is_refused_leaves_what_had_come(complete: Complete, whole: str, chaos: Chaos) -> None:
    chaos.enqueue("ok;tokens=100;continue,529")
    with pytest.raises(StreamInterrupted) as broken:
        complete(max_tokens=40)
    assert broken.value.outcome is Outcome.OVERLOADED
    assert whole.startswith(broken.value.partial.text)
    assert broken.value.partial.text
    assert isinstance(broken.value.__cause__, anthropic.APIStatusError)


def test_a_call_that_fails_before_anything_has_come_fails_as_ever(complete: Complete, chaos: Chaos) -> None:
    chaos.enqueue("529,400")
    with pytest.raises(anthropic.OverloadedError):
        complete()
    with pytest.raises(anthropic.BadRequestError):
        complete()


IMPATIENT = Policy(timeouts=replace(Policy().timeouts, first_byte=7.0, stall=0.5), retry=Retry(base=0))


@pytest.mark.parametrize(
    "fault", ["truncate;after=5", "truncate-clean;after=5", "stall;after=5", "error-event;after=5"]
)
def test_under_a_policy_it_is_the_same(fault: str, complete: Complete, whole: str, chaos: Chaos, seen: Any) -> None:
    under = {"telemetry": seen, "policy": IMPATIENT}
    chaos.enqueue(f"{fault};tokens=100;continue,{OK},{fault};tokens=100;continue")
    done = complete(max_tokens=200, under=under)
    assert (done.text, [turn.ending for turn in done.turns]) == (whole, [Ending.BROKEN, Ending.WHOLE])
    with pytest.raises(anthropic.APIError) as broken:
        complete(max_tokens=200, max_turns=1, under=under)
    assert isinstance(broken.value, StreamInterrupted)
    assert broken.value.partial.text
    seen.agree(chaos, calls=3)


def test_a_deadline_leaves_the_limits_of_a_policy_as_they_are(complete: Complete, chaos: Chaos, seen: Any) -> None:
    limits: list[float] = []
    complete(
        deadline=100,
        under={"telemetry": seen, "policy": IMPATIENT},
        hook=lambda request: limits.append(request.extensions["timeout"].get("read")),
    )
    assert limits == [7.0]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_deadline_bounds_the_whole_and_keeps_what_stopped_by_itself(complete: Complete, chaos: Chaos) -> None:
    clock = Clock()

    def passing(_: object) -> None:
        clock.now += 4.6

    chaos.enqueue(f"{OK} x9")
    with sidecar.deadline(1000, clock=clock):
        done = complete(max_tokens=20, deadline=10, hook=passing)
    assert (done.limit, len(done.turns)) == (Limit.DEADLINE, 2)


def test_a_deadline_that_passes_half_way_is_told_as_one(complete: Complete, chaos: Chaos, installed: Any) -> None:
    clock = Clock()

    def passing(_: object) -> None:
        clock.now += 6

    chaos.enqueue(f"{OK} x9")
    with sidecar.deadline(1000, clock=clock), pytest.raises(StreamDeadlineExceeded) as broken:
        complete(max_tokens=20, deadline=10, hook=passing)
    assert isinstance(broken.value, anthropic.APITimeoutError)
    assert broken.value.partial.text
    assert len(chaos.settled()) == 2
    assert installed.telemetry.value("claude_in_flight") == 0


def test_without_the_time_for_a_single_call_nothing_is_sent(complete: Complete, chaos: Chaos) -> None:
    with pytest.raises(sidecar.DeadlineExceeded, match="less than the 1 s"):
        complete(deadline=0.5)
    assert chaos.settled() == ()


@pytest.mark.parametrize(
    "timeout", [{}, {"timeout": None}, {"timeout": 3.0}, {"timeout": anthropic.Timeout(50, pool=2)}]
)
def test_no_read_may_take_longer_than_is_left(timeout: dict[str, Any], complete: Complete) -> None:
    seen: list[dict[str, float | None]] = []
    complete(deadline=20, **timeout, hook=lambda request: seen.append(request.extensions["timeout"]))
    given = timeout.get("timeout")
    least = 3.0 if given == 3.0 else 20.0
    assert all(value is not None and value <= least for value in seen[0].values())
    assert (seen[0]["pool"] == 2.0) is isinstance(given, anthropic.Timeout)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_turns": 0}, "max_turns must be a whole number at least 1"),
        ({"max_total_tokens": 1.5}, "max_total_tokens must be a whole number"),
        ({"deadline": -1}, "deadline must be a finite number above 0"),
    ],
)
def test_bounds_that_cannot_be_are_refused_before_anything_is_sent(
    options: dict[str, Any], named: str, complete: Complete, chaos: Chaos
) -> None:
    with pytest.raises(SettingsError, match=named):
        complete(**options)
    assert chaos.settled() == ()


def test_what_contradicts_it_is_refused(complete: Complete) -> None:
    with pytest.raises(TypeError, match=r"complete\(\) takes what messages.create\(\) takes, without stream"):
        complete(stream=True)
    with pytest.raises(TypeError, match=r"complete\(\) takes a client of the anthropic package, not builtins.object"):
        sidecar.complete(object())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="messages"):
        sidecar.complete(anthropic.Anthropic(api_key="k"), model="m", max_tokens=1)


def test_nothing_of_what_was_said_is_in_errors_records_or_logs(
    complete: Complete, chaos: Chaos, installed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The partial is there to be taken; no text, repr or pickled copy of the error shows it by itself."""
    caplog.set_level(logging.INFO)
    chaos.enqueue("truncate;after=5;tokens=100;continue,error-event;after=5;tokens=100;continue")
    with pytest.raises(StreamInterrupted) as broken:
        complete(max_turns=2, prompt=CANARY, messages=[{"role": "user", "content": CANARY}], system=CANARY)
    error = broken.value
    said = error.partial.text[:12]
    assert said
    shown = [str(error), repr(error), repr(error.partial), repr(pickle.loads(pickle.dumps(error)))]  # noqa: S301
    shown += [repr(record) for record in (*installed.calls, *installed.attempts)]
    shown += [record.getMessage() for record in caplog.records]
    chaos.enqueue(f"{OK} x2")
    shown.append(repr(complete(max_tokens=60, prompt=CANARY)))
    assert not [text for text in shown if CANARY in text or said in text]
