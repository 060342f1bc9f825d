"""Every way of the async SDK to make a call, and of leaving one: the same promise as for the sync one."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import httpx2
import pytest
from pydantic import BaseModel

from sidecar.chaos import Chaos
from sidecar.model import Outcome, Phase, RetryResult, Usage

Client = anthropic.AsyncAnthropic
Ask = dict[str, Any]
WAITED = {Phase.FIRST_BYTE, Phase.STALL}
PATIENCE = {True: 0.3, False: 30.0}  # only where a timeout is the point is it short


class Answer(BaseModel):
    text: str


async def create(client: Client, ask: Ask) -> None:
    assert (await client.messages.create(**ask)).stop_reason == "end_turn"


async def create_stream(client: Client, ask: Ask) -> None:
    assert [event.type async for event in await client.messages.create(**ask, stream=True)][-1] == "message_stop"


async def with_create_stream(client: Client, ask: Ask) -> None:
    async with await client.messages.create(**ask, stream=True) as stream:
        async for _ in stream:
            pass


async def text_stream(client: Client, ask: Ask) -> None:
    async with client.messages.stream(**ask) as stream:
        assert [text async for text in stream.text_stream]


async def final_message(client: Client, ask: Ask) -> None:
    async with client.messages.stream(**ask) as stream:
        assert (await stream.get_final_message()).usage.output_tokens


async def final_text(client: Client, ask: Ask) -> None:
    async with client.messages.stream(**ask) as stream:
        assert await stream.get_final_text()


async def until_done(client: Client, ask: Ask) -> None:
    async with client.messages.stream(**ask) as stream:
        await stream.until_done()


async def stream_events(client: Client, ask: Ask) -> None:
    async with client.messages.stream(**ask) as stream:
        assert [event.type async for event in stream][-1] == "message_stop"


async def raw_response(client: Client, ask: Ask) -> None:
    assert (await (await client.messages.with_raw_response.create(**ask)).parse()).content


async def raw_response_stream(client: Client, ask: Ask) -> None:
    async for _ in await (await client.messages.with_raw_response.create(**ask, stream=True)).parse():
        pass


async def streaming_response(client: Client, ask: Ask) -> None:
    async with client.messages.with_streaming_response.create(**ask) as response:
        assert (await response.parse()).content


async def streaming_response_stream(client: Client, ask: Ask) -> None:
    async with client.messages.with_streaming_response.create(**ask, stream=True) as response:
        async for _ in await response.parse():
            pass


async def beta(client: Client, ask: Ask) -> None:
    assert (await client.beta.messages.create(**ask)).content


async def beta_stream(client: Client, ask: Ask) -> None:
    async with client.beta.messages.stream(**ask) as stream:
        assert (await stream.get_final_message()).content


async def beta_create_stream(client: Client, ask: Ask) -> None:
    assert [event.type async for event in await client.beta.messages.create(**ask, stream=True)]


async def streaming_response_lines(client: Client, ask: Ask) -> None:
    async with client.messages.with_streaming_response.create(**ask) as response:
        assert [line async for line in response.iter_lines()]


async def raw_http_response(client: Client, ask: Ask) -> None:
    assert (await client.post("/v1/messages", body=ask, cast_to=httpx2.Response)).json()["content"]


async def copied(client: Client, ask: Ask) -> None:
    await client.copy(default_headers={"x-app": "1"}).messages.create(**ask)


async def per_request(client: Client, ask: Ask) -> None:
    await client.messages.create(**ask, timeout=httpx2.Timeout(30, connect=2))


async def options(client: Client, ask: Ask) -> None:
    await client.with_options(timeout=30, max_retries=0).messages.create(**ask)


async def gzip_stream(client: Client, ask: Ask) -> None:
    headers = {"x-chaos": "ok;gzip-sse", "accept-encoding": "gzip"}
    async with client.messages.stream(**ask, extra_headers=headers) as stream:
        await stream.until_done()


async def read_in_another_task(client: Client, ask: Ask) -> None:
    stream = await client.messages.create(**ask, stream=True)

    async def read() -> None:
        async for _ in stream:
            pass

    await asyncio.create_task(read())


STREAMED = [
    create_stream,
    with_create_stream,
    text_stream,
    final_message,
    final_text,
    until_done,
    stream_events,
    raw_response_stream,
    streaming_response_stream,
    beta_stream,
    beta_create_stream,
    gzip_stream,
    read_in_another_task,
]
WHOLE = [
    create,
    raw_response,
    streaming_response,
    streaming_response_lines,
    raw_http_response,
    beta,
    options,
    copied,
    per_request,
]


@pytest.mark.parametrize("path", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("aiohttp", [False, True])
async def test_a_message_is_one_call_and_one_attempt_with_its_tokens(
    path: Callable[[Client, Ask], Awaitable[None]], installed: Any, chaos: Chaos, ask: Ask, aiohttp: bool
) -> None:
    http = anthropic.DefaultAioHttpClient() if aiohttp else None
    async with anthropic.AsyncAnthropic(base_url=chaos.url, api_key="sk-test", http_client=http) as client:
        await path(client, ask)
    (truth,) = installed.agree(chaos, calls=1)
    call = installed.one
    assert (call.endpoint, call.model, call.outcome, call.attempts) == ("messages", ask["model"], Outcome.OK, 1)
    assert call.stream == (path in STREAMED)
    assert call.usage == Usage(input=truth.input_tokens or 0, output=truth.output_tokens or 0)
    assert call.stop_reason == truth.stop_reason
    assert (call.first_token is not None) == call.stream == (call.output_seconds is not None)
    (attempt,) = installed.attempts
    assert (attempt.max_gap is not None) == call.stream


async def test_the_other_routes_have_their_names(installed: Any, chaos: Chaos, async_client: Client, ask: Ask) -> None:
    async with async_client as client:
        await client.messages.count_tokens(model=ask["model"], messages=ask["messages"])
        models = [model async for model in client.models.list()]
        await client.models.retrieve(models[0].id)
        requests: Any = [{"custom_id": "a", "params": ask}]
        batch = await client.messages.batches.create(requests=requests)
        while (await client.messages.batches.retrieve(batch.id)).processing_status != "ended":
            pass
        assert len([line async for line in await client.messages.batches.results(batch.id)]) == 1
    installed.agree(chaos)
    names = [call.endpoint for call in installed.calls]
    assert names[:4] == ["messages.count_tokens", "models", "models", "messages.batches"]
    assert names[-1] == "messages.batches.results"
    assert {call.outcome for call in installed.calls} == {Outcome.OK}


async def test_parse_is_one_call(installed: Any, chaos: Chaos, async_client: Client, ask: Ask) -> None:
    async with async_client as client:
        await client.messages.parse(**ask, output_format=Answer)
        await client.beta.messages.parse(**ask, output_format=Answer)
    installed.agree(chaos, calls=2)
    assert {call.outcome for call in installed.calls} == {Outcome.OK}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_runner_makes_a_call_for_each_turn(
    installed: Any, chaos: Chaos, async_client: Client, ask: Ask, stream: bool
) -> None:
    async def add(number: int) -> str:
        """Add one.

        Args:
            number: To what.
        """
        return str(number + 1)

    async with async_client as client:
        runner: Any = client.beta.messages.tool_runner(
            **ask, tools=[anthropic.beta_async_tool(add)], max_iterations=2, stream=stream
        )
        async for turn in runner:
            if stream:
                await turn.get_final_message()
    installed.agree(chaos, calls=2)
    assert [(call.outcome, call.stream) for call in installed.calls] == [(Outcome.OK, stream)] * 2
    assert installed.calls[0].stop_reason == "tool_use"


async def test_many_calls_at_once_are_kept_apart(installed: Any, chaos: Chaos, async_client: Client, ask: Ask) -> None:
    async with async_client as client:
        await asyncio.gather(*(path(client, ask) for path in (create, text_stream, create_stream) for _ in range(10)))
    installed.agree(chaos, calls=30)
    assert {call.attempts for call in installed.calls} == {1}
    assert len({call.request_id for call in installed.calls}) == 30


async def test_retries_that_save_a_call(
    installed: Any, chaos: Chaos, async_client: Client, ask: Ask, fault: Any
) -> None:
    async with async_client as client:
        await client.messages.create(**ask, **fault("529;retry-after-ms=1,ok"))
        async with client.messages.stream(**ask, **fault("429;retry-after-ms=1,ok")) as stream:
            await stream.until_done()
    installed.agree(chaos, calls=2)
    assert [call.retry_result for call in installed.calls] == [RetryResult.RECOVERED] * 2
    assert [call.waits[0].reason for call in installed.calls] == [Outcome.OVERLOADED, Outcome.RATE_LIMITED]


@pytest.mark.parametrize(
    ("spec", "outcome", "phase"),
    [
        ("400", Outcome.CLIENT_ERROR, None),
        ("529", Outcome.OVERLOADED, None),
        ("hang", Outcome.TIMEOUT, Phase.FIRST_BYTE),
        ("reset", Outcome.CONNECTION_ERROR, None),
        ("malformed-json", Outcome.SERVER_ERROR, None),
        ("stall;after=1", Outcome.TIMEOUT, Phase.STALL),
        ("truncate", Outcome.CONNECTION_ERROR, None),
    ],
)
@pytest.mark.parametrize("aiohttp", [False, True])
async def test_each_fault_of_a_whole_answer_is_told_as_what_it_is(
    installed: Any, chaos: Chaos, ask: Ask, fault: Any, spec: str, outcome: Outcome, phase: Phase | None, aiohttp: bool
) -> None:
    http = anthropic.DefaultAioHttpClient() if aiohttp else None
    async with anthropic.AsyncAnthropic(
        base_url=chaos.url, api_key="k", http_client=http, max_retries=0, timeout=PATIENCE[phase in WAITED]
    ) as client:
        with pytest.raises(Exception):  # noqa: B017, PT011  # which one is the SDK's matter
            await client.messages.create(**ask, **fault(spec))
    installed.agree(chaos, calls=1)
    if aiohttp and spec == "reset" and installed.one.phase is Phase.CONNECT:
        return  # the aiohttp backend of SDK 2.0 raises a ConnectTimeout for every broken connection
    assert (installed.one.outcome, installed.one.phase) == (outcome, phase)


@pytest.mark.parametrize(
    ("spec", "outcome", "phase"),
    [
        ("529", Outcome.OVERLOADED, None),
        ("stall;after=2", Outcome.TIMEOUT, Phase.STALL),
        ("truncate;after=2", Outcome.TRUNCATED, None),
        ("truncate-clean;after=2", Outcome.TRUNCATED, None),
        ("error-event;type=overloaded_error;after=2", Outcome.OVERLOADED, None),
        ("malformed-sse;after=2", Outcome.SERVER_ERROR, None),
        ("drip;bytes=7;s=0", Outcome.OK, None),
    ],
)
@pytest.mark.parametrize("how", [create_stream, text_stream, streaming_response_stream])
@pytest.mark.parametrize("aiohttp", [False, True])
async def test_each_fault_of_a_stream_is_told_as_what_it_is(
    installed: Any,
    chaos: Chaos,
    ask: Ask,
    spec: str,
    outcome: Outcome,
    phase: Phase | None,
    how: Callable[[Client, Ask], Awaitable[None]],
    aiohttp: bool,
) -> None:
    http = anthropic.DefaultAioHttpClient() if aiohttp else None
    async with anthropic.AsyncAnthropic(base_url=chaos.url, api_key="k", http_client=http) as base:
        client = base.with_options(max_retries=0, timeout=PATIENCE[phase in WAITED])
        try:
            await how(client, {**ask, "extra_headers": {"x-chaos": spec}})
        except Exception:  # noqa: BLE001  # which one is the SDK's matter; a clean truncation raises none
            assert outcome is not Outcome.OK
    await asyncio.to_thread(installed.agree, chaos, calls=1)  # aiohttp lets go of a connection a moment later
    (attempt,) = installed.attempts
    assert (attempt.outcome, attempt.phase) == (outcome, phase)
    assert (installed.one.outcome, installed.one.phase) == (outcome, phase)


async def leave_early(client: Client, ask: Ask) -> None:
    async with client.messages.stream(**ask) as stream:
        async for _ in stream:
            break


async def leave_its_text(client: Client, ask: Ask) -> None:
    async with client.messages.stream(**ask) as stream:
        async for _ in stream.text_stream:
            break


async def leave_a_streaming_response(client: Client, ask: Ask) -> None:
    async with client.messages.with_streaming_response.create(**ask, stream=True):
        pass


async def drop_raw(client: Client, ask: Ask) -> None:
    await client.messages.with_raw_response.create(**ask, stream=True)
    gc.collect()
    await client.close()


async def close(client: Client, ask: Ask) -> None:
    await (await client.messages.create(**ask, stream=True)).close()


async def never_read(client: Client, ask: Ask) -> None:
    async with client.messages.stream(**ask):
        pass


async def drop(client: Client, ask: Ask) -> None:
    await client.messages.create(**ask, stream=True)
    gc.collect()
    await client.close()  # nobody else ends the connection of a dropped response, with us or without


async def drop_half_read(client: Client, ask: Ask) -> None:
    async for _ in await client.messages.create(**ask, stream=True):
        break
    gc.collect()


async def fail_inside(client: Client, ask: Ask) -> None:
    with pytest.raises(KeyError):  # noqa: PT012  # the block is the case
        async with client.messages.stream(**ask) as stream:
            async for _ in stream:
                raise KeyError


async def run_out_of_time(client: Client, ask: Ask) -> None:
    with pytest.raises(TimeoutError):  # noqa: PT012  # the block is the case
        async with asyncio.timeout(0.2):
            async for _ in await client.messages.create(**ask, stream=True):
                pass


async def cancelled_task(client: Client, ask: Ask) -> None:
    reading = asyncio.Event()

    async def read() -> None:
        async for _ in await client.messages.create(**ask, stream=True):
            reading.set()

    task = asyncio.create_task(read())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "leave",
    [
        leave_early,
        leave_its_text,
        leave_a_streaming_response,
        close,
        never_read,
        drop,
        drop_raw,
        drop_half_read,
        fail_inside,
        run_out_of_time,
        cancelled_task,
    ],
)
@pytest.mark.parametrize("aiohttp", [False, True])
async def test_an_application_that_stops_reading_has_cancelled(
    leave: Callable[[Client, Ask], Awaitable[None]], installed: Any, chaos: Chaos, ask: Ask, aiohttp: bool
) -> None:
    http = anthropic.DefaultAioHttpClient() if aiohttp else None
    async with anthropic.AsyncAnthropic(base_url=chaos.url, api_key="k", http_client=http) as client:
        # A stream that is still going on: what was left unread must not be there already.
        await leave(client, {**ask, "extra_headers": {"x-chaos": "stall;after=2"}})
        while not installed.calls:  # noqa: ASYNC110  # the event loop finishes what was dropped
            await asyncio.sleep(0)
    installed.agree(chaos, calls=1)
    assert installed.one.outcome is Outcome.CANCELLED
    assert installed.attempts[0].outcome is Outcome.CANCELLED


@pytest.mark.parametrize("spec", ["hang", "slow-headers;s=30", "529;retry-after=30"])
async def test_a_cancelled_call_ends_at_once_wherever_it_is(
    installed: Any, chaos: Chaos, async_client: Client, ask: Ask, fault: Any, spec: str
) -> None:
    async with async_client as client:
        task = asyncio.create_task(client.messages.create(**ask, **fault(spec)))
        while not chaos.attempts() or ("529" in spec and not installed.attempts):  # noqa: ASYNC110  # in another thread
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    installed.agree(chaos)
    call = installed.one
    assert call.outcome is Outcome.CANCELLED
    assert call.attempts == 1
    assert [wait.completed for wait in call.waits] == ([False] if "529" in spec else [])


async def test_a_pool_without_a_free_connection_is_told(installed: Any, chaos: Chaos, ask: Ask, fault: Any) -> None:
    http = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=1))
    timeout = httpx2.Timeout(30, pool=0.1)
    async with (
        anthropic.AsyncAnthropic(
            base_url=chaos.url, api_key="k", http_client=http, max_retries=0, timeout=timeout
        ) as client,
        client.messages.stream(**ask, **fault("stall;after=1")),
    ):
        with pytest.raises(anthropic.APITimeoutError):
            await client.messages.create(**ask)
    assert [(call.outcome, call.phase) for call in installed.calls] == [
        (Outcome.TIMEOUT, Phase.POOL),
        (Outcome.CANCELLED, None),
    ]
    assert len(chaos.settled()) == 1


async def test_a_coroutine_that_is_thrown_away_does_no_harm(
    installed: Any, chaos: Chaos, async_client: Client, ask: Ask, fault: Any
) -> None:
    async with async_client as client:
        coroutine = client.messages.create(**ask, **fault("hang"))
        coroutine.send(None)
        coroutine.close()
    assert installed.one.outcome is Outcome.CANCELLED
    assert installed.faults == []
