"""resumable_stream(): who reads sees one stream and one message, whatever broke on the way."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Callable
from typing import Any

import anthropic
import pytest

import sidecar
from sidecar.chaos import Chaos
from sidecar.client.errors import StreamInterrupted
from sidecar.client.long.course import Bounds, Course
from sidecar.client.long.shell_sync import Events
from sidecar.model import Outcome
from tests.client.cycles import BROKEN_CALLS_ARE_LEFT

OK = "ok;tokens=100;continue"
BROKEN = "truncate;after=5;tokens=100;continue"
Read = Callable[..., tuple[list[Any], Any, tuple[Any, ...]]]


def _sync(chaos: Chaos, **options: Any) -> Any:
    with anthropic.Anthropic(base_url=chaos.url, api_key="k", max_retries=0) as client:
        resumable = sidecar.resumable_stream(client, **options)
        with resumable as stream:
            events = list(stream)
            message = stream.get_final_message()
        assert stream.request_id == resumable.turns[-1].request_id
        return events, message, resumable.turns


def _async(chaos: Chaos, **options: Any) -> Any:
    async def run() -> Any:
        async with anthropic.AsyncAnthropic(base_url=chaos.url, api_key="k", max_retries=0) as client:
            resumable = sidecar.resumable_stream(client, **options)
            async with resumable as stream:
                events = [event async for event in stream]
                message = await stream.get_final_message()
            assert stream.request_id == resumable.turns[-1].request_id
            return events, message, resumable.turns

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def read(request: pytest.FixtureRequest, chaos: Chaos, ask: dict[str, Any]) -> Read:
    """Read the same request's stream to its end with a client of either kind."""
    return lambda **options: request.param(chaos, **{**ask, **options})


@pytest.fixture
def whole(sync_client: anthropic.Anthropic, ask: dict[str, Any], chaos: Chaos) -> Any:
    """Give what the SDK's own stream helper gives of the answer when nothing happens to it."""
    with sync_client.messages.stream(**ask | {"max_tokens": 200}, extra_headers={"x-chaos": "ok;tokens=100"}) as stream:
        events = list(stream)
    chaos.settled()
    chaos.reset()
    return events, stream.get_final_message()


def shape(events: list[Any]) -> list[Any]:
    """Tell what events are, apart from ids and usage, and with equal neighbours told once."""
    kinds = [(event.type, getattr(event, "index", None)) for event in events]
    return list(dict.fromkeys(kinds))


@pytest.mark.parametrize(
    ("faults", "max_tokens", "calls"),
    [
        (OK, 200, 1),
        (f"{OK} x3", 40, 3),
        (f"{BROKEN},{OK}", 200, 2),
        (f"error-event;after=5;tokens=100;continue,{OK}", 200, 2),
        (f"truncate-clean;after=5;tokens=100;continue,{BROKEN},{OK}", 200, 3),
        (f"truncate;after=0;tokens=100;continue,{OK}", 200, 2),
        (f"{BROKEN},{OK} x2", 50, 3),
    ],
)
def test_one_stream_is_seen_and_one_message(
    faults: str, max_tokens: int, calls: int, read: Read, whole: Any, chaos: Chaos, installed: Any
) -> None:
    chaos.enqueue(faults)
    events, message, turns = read(max_tokens=max_tokens)
    expected, one = whole
    assert shape(events) == shape(expected)
    assert [block.to_dict() for block in message.content] == [block.to_dict() for block in one.content]
    assert "".join(event.text for event in events if event.type == "text") == message.content[0].text
    assert (message.stop_reason, len(turns)) == ("end_turn", calls)
    truth = installed.agree(chaos, calls=calls)
    assert message.usage.input_tokens == sum(attempt.input_tokens or 0 for attempt in truth)
    assert message.id == "msg_" + str(truth[0].request_id).removeprefix("req_")
    assert [turn.request_id for turn in turns] == [attempt.request_id for attempt in truth]


def test_thinking_that_broke_off_cannot_be_taken_back(read: Read, chaos: Chaos) -> None:
    chaos.enqueue(f"truncate;after=2;tokens=100,{OK}")
    with pytest.raises(StreamInterrupted) as broken:
        read(max_tokens=2000, thinking={"type": "adaptive"})
    assert [block["type"] for block in broken.value.partial.content] == ["thinking"]
    assert len(chaos.settled()) == 1


def test_text_after_thinking_is_gone_on_with(read: Read, chaos: Chaos) -> None:
    """The thinking is whole and signed, so it goes back too; the next turn thinks anew, in a block of its own."""
    chaos.enqueue(f"truncate;after=14;tokens=100;continue,{OK}")
    events, message, _ = read(max_tokens=2000, thinking={"type": "adaptive"})
    assert [block.type for block in message.content] == ["thinking", "text", "thinking", "text"]
    stops = [event.index for event in events if event.type == "content_block_stop"]
    assert stops == [0, 1, 2, 3]


def test_what_breaks_off_for_good_is_told_with_all_that_had_come(
    read: Read, whole: Any, chaos: Chaos, installed: Any
) -> None:
    chaos.enqueue(f"{BROKEN},{BROKEN}")
    with pytest.raises(StreamInterrupted) as broken:
        read(max_turns=2, max_tokens=200)
    text = broken.value.partial.text
    assert whole[1].content[0].text.startswith(text)
    assert len(text) > len(whole[1].content[0].text) / 3
    installed.agree(chaos, calls=2)


def test_an_end_without_its_message_stop_is_no_success(read: Read, chaos: Chaos) -> None:
    chaos.enqueue("truncate-clean;after=5;tokens=100")
    with pytest.raises(StreamInterrupted):
        read(max_turns=1)


def test_a_limit_ends_the_stream_as_the_api_would(read: Read, chaos: Chaos) -> None:
    chaos.enqueue(f"{OK} x9")
    events, message, turns = read(max_tokens=20, max_turns=2)
    assert (events[-1].type, message.stop_reason, len(turns)) == ("message_stop", "max_tokens", 2)
    assert message.usage.output_tokens == 40


def test_a_call_that_fails_at_once_fails_where_the_block_is_entered(read: Read, chaos: Chaos) -> None:
    chaos.enqueue("529")
    with pytest.raises(anthropic.OverloadedError):
        read()


def test_what_contradicts_it_is_refused(read: Read) -> None:
    with pytest.raises(TypeError, match="resumable_stream"):
        read(stream=True)


def test_leaving_early_is_cancelling_and_nothing_is_resumed(
    chaos: Chaos, installed: Any, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    chaos.enqueue("stall;after=2;tokens=100;continue")
    with sidecar.resumable_stream(sync_client, **ask) as stream:
        next(iter(stream.text_stream))
    assert len(installed.agree(chaos, calls=1)) == 1
    assert installed.one.outcome is Outcome.CANCELLED


async def test_leaving_early_is_cancelling_for_async_clients_too(
    chaos: Chaos, installed: Any, async_client: anthropic.AsyncAnthropic, ask: Any
) -> None:
    chaos.enqueue("stall;after=2;tokens=100;continue")
    async with sidecar.resumable_stream(async_client, **ask) as stream:
        async for _ in stream.text_stream:
            break
    await async_client.close()
    assert len(await asyncio.to_thread(installed.agree, chaos, calls=1)) == 1
    assert installed.one.outcome is Outcome.CANCELLED


async def test_cancelling_the_task_resumes_nothing(
    chaos: Chaos, installed: Any, async_client: anthropic.AsyncAnthropic, ask: Any
) -> None:
    chaos.enqueue("stall;after=2;tokens=100;continue")

    async def reading() -> None:
        async with sidecar.resumable_stream(async_client, **ask) as stream:
            async for _ in stream.text_stream:
                begun.set()

    begun = asyncio.Event()
    task = asyncio.create_task(reading())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await async_client.close()
    assert len(await asyncio.to_thread(installed.agree, chaos, calls=1)) == 1
    assert installed.one.outcome is Outcome.CANCELLED


def fail_after_a_word(stream: Any) -> None:
    next(stream.text_stream)
    raise KeyError("mine")


def test_an_application_that_fails_inside_is_not_resumed(
    chaos: Chaos, installed: Any, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    chaos.enqueue("stall;after=2;tokens=100;continue")
    with pytest.raises(KeyError, match="mine"), sidecar.resumable_stream(sync_client, **ask) as stream:
        fail_after_a_word(stream)
    assert len(installed.agree(chaos, calls=1)) == 1
    with sidecar.resumable_stream(sync_client, **ask):
        pass


def test_entering_that_fails_leaves_nothing_to_close(chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any) -> None:
    resumable = sidecar.resumable_stream(sync_client, **ask)
    resumable.__exit__(None, None, None)
    assert resumable.turns == ()
    assert chaos.settled() == ()


@pytest.mark.parametrize("fault", ["529"] if BROKEN_CALLS_ARE_LEFT else [f"{BROKEN},{OK}", f"{BROKEN},{BROKEN}", "529"])
def test_nothing_is_left_to_the_garbage_collector(
    fault: str, chaos: Chaos, sync_client: anthropic.Anthropic, ask: Any
) -> None:
    """The SDK's own stream helper is; what feeds it is not."""
    chaos.enqueue(fault)
    bounds = Bounds.of(max_turns=2, max_total_tokens=None, seconds=None)
    gc.collect()
    gc.disable()
    try:
        events = Events(sync_client.with_options(max_retries=0), Course(ask, bounds, shown=True))
        with contextlib.suppress(anthropic.APIError):
            events.open()
            for _ in events:
                pass
        gone = weakref.ref(events)
        del events
        assert gone() is None
    finally:
        gc.enable()
