"""The official SDK works against the fake API unmodified: sync, async, streams, tools, counting, models, batches."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message, ToolParam

from sidecar.chaos import AsyncChaos, Chaos, End, chaos_server, parse_scenario

_KW: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 4_000,
    "messages": [{"role": "user", "content": "Hello"}],
}
_TOOL: ToolParam = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city"],
    },
}
_BATCHES = parse_scenario({"batch_seconds": 0, "phases": [{"name": "p", "duration": 60}]}, "batches")
_SLOW_BATCHES = parse_scenario({"batch_seconds": 600, "phases": [{"name": "p", "duration": 60}]}, "batches")


@pytest.fixture(scope="module")
def chaos() -> Iterator[Chaos]:
    with chaos_server(_BATCHES) as running:
        yield running


@pytest.fixture(scope="module")
def client(chaos: Chaos) -> Iterator[Anthropic]:
    with Anthropic(base_url=chaos.url, api_key="any", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def aclient() -> AsyncIterator[tuple[AsyncAnthropic, AsyncChaos]]:
    async with chaos_server() as running, AsyncAnthropic(base_url=running.url, api_key="any", max_retries=0) as sdk:
        yield sdk, running


def test_a_message_has_text_usage_and_a_reason_to_stop(client: Anthropic) -> None:
    message = client.messages.create(**_KW)
    assert message.content[0].type == "text"
    assert message.content[0].text.startswith("Waiting is")
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 40)
    assert message.usage.input_tokens > 0
    assert message._request_id is not None


def test_a_plain_stream_has_the_apis_sequence_of_events(client: Anthropic) -> None:
    with client.messages.create(**_KW, stream=True) as stream:
        kinds = [event.type for event in stream]
    deltas = ["content_block_delta"] * 10
    assert kinds == [
        "message_start",
        "content_block_start",
        *deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_a_ping_comes_before_the_first_content(client: Anthropic) -> None:
    with client.messages.with_streaming_response.create(**_KW, stream=True) as response:
        names = [line for line in response.iter_lines() if line.startswith("event:")]
    assert names[:3] == ["event: message_start", "event: content_block_start", "event: ping"]


def test_the_streaming_helper_puts_the_same_message_together(client: Anthropic) -> None:
    plain = client.messages.create(**_KW)
    with client.messages.stream(**_KW) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in plain.content]
    assert (text, final.stop_reason, final.usage.output_tokens) == (plain.content[0].to_dict()["text"], "end_turn", 40)


def test_a_tool_is_used_and_its_result_ends_the_loop(client: Anthropic) -> None:
    first = client.messages.create(**_KW, tools=[_TOOL])
    use = first.content[-1]
    assert use.type == "tool_use"
    assert (first.stop_reason, use.name, use.input) == (
        "tool_use",
        "weather",
        {"city": "chaos", "days": 1, "unit": "C"},
    )
    messages = [
        *_KW["messages"],
        {"role": "assistant", "content": [block.to_dict() for block in first.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "rain"}]},
    ]
    second = client.messages.create(**_KW | {"messages": messages}, tools=[_TOOL])
    assert (second.stop_reason, second.content[-1].type) == ("end_turn", "text")


def test_a_streamed_tool_use_is_put_together_again(client: Anthropic) -> None:
    with client.messages.stream(**_KW, tools=[_TOOL], tool_choice={"type": "any"}) as stream:
        final = stream.get_final_message()
    use = final.content[-1]
    assert use.type == "tool_use"
    assert use.input == {"city": "chaos", "days": 1, "unit": "C"}


def test_the_sdks_tool_runner_runs_to_its_end(client: Anthropic) -> None:
    asked: list[str] = []

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Tell the weather.

        Args:
            city: Where.
        """
        asked.append(city)
        return "rain"

    final = client.beta.messages.tool_runner(**_KW, tools=[weather]).until_done()
    assert (asked, final.stop_reason) == (["chaos"], "end_turn")


@pytest.mark.parametrize(
    ("choice", "kind", "name"),
    [
        ({"type": "auto"}, "tool_use", "weather"),
        ({"type": "none"}, "text", None),
        ({"type": "tool", "name": "second"}, "tool_use", "second"),
    ],
)
def test_tool_choice_is_followed(client: Anthropic, choice: Any, kind: str, name: str | None) -> None:
    second: ToolParam = {**_TOOL, "name": "second"}
    tools: Any = [_TOOL, second]
    block = client.messages.create(**_KW, tools=tools, tool_choice=choice).content[-1].to_dict()
    assert (block["type"], block.get("name")) == (kind, name)


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_comes_first_and_signed(client: Anthropic, stream: bool) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 2_000}
    if stream:
        with client.messages.stream(**_KW, thinking=thinking) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**_KW, thinking=thinking)
    first, second = message.content
    assert first.type == "thinking"
    assert first.thinking
    assert first.signature
    assert second.type == "text"


def test_structured_output_fits_its_schema(client: Anthropic) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "tags": {"type": "array", "items": {}}}}
    config: Any = {"format": {"type": "json_schema", "schema": schema}}
    message = client.messages.create(**_KW, output_config=config)
    assert message.content[0].type == "text"
    assert json.loads(message.content[0].text) == {"n": 1, "tags": [{}]}


def test_max_tokens_cuts_the_answer_and_says_so(client: Anthropic) -> None:
    message = client.messages.create(**_KW | {"max_tokens": 8})
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 8)


def test_an_answer_in_turns_goes_on_where_the_last_one_stopped(client: Anthropic) -> None:
    def ask(said: str = "", **options: Any) -> Message:
        turns = [{"role": "assistant", "content": said.rstrip()}, {"role": "user", "content": "Go on."}] if said else []
        messages: Any = [*_KW["messages"], *turns]
        message: Message = client.messages.create(
            **_KW | {"messages": messages, **options}, extra_headers={"x-chaos": "ok;tokens=240;continue"}
        )
        return message

    def text_of(message: Message) -> str:
        return "".join(block.text for block in message.content if block.type == "text")

    whole = text_of(ask())
    said, told = "", []
    for _ in range(3):
        message = ask(said, max_tokens=80)
        said += text_of(message)
        told.append((message.stop_reason, message.usage.output_tokens))
    assert said == whole
    assert told == [("max_tokens", 80), ("max_tokens", 80), ("end_turn", 80)]
    assert text_of(ask("Something else that was said.")) == whole


@pytest.mark.parametrize("stop", ["max_tokens", "refusal", "pause_turn", "stop_sequence"])
def test_a_stop_reason_can_be_asked_for(client: Anthropic, stop: str) -> None:
    message = client.messages.create(**_KW, stop_sequences=["END"], extra_headers={"x-chaos": f"ok;stop={stop}"})
    assert message.stop_reason == stop
    assert message.stop_sequence == ("END" if stop == "stop_sequence" else None)


def test_cached_prompts_are_counted_as_the_api_counts_them(client: Anthropic) -> None:
    content: Any = [{"type": "text", "text": "Long. " * 100, "cache_control": {"type": "ephemeral"}}]
    headers = {"x-chaos": "ok;input-tokens=1000"}
    message = client.messages.create(
        **_KW | {"messages": [{"role": "user", "content": content}]}, extra_headers=headers
    )
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (250, 500, 250)


def test_tokens_are_counted(client: Anthropic) -> None:
    short = client.messages.count_tokens(model="claude-sonnet-5", messages=_KW["messages"])
    long = client.beta.messages.count_tokens(
        model="claude-sonnet-5", messages=[{"role": "user", "content": "word " * 1000}]
    )
    assert 0 < short.input_tokens < long.input_tokens


def test_models_are_listed_and_told(client: Anthropic) -> None:
    models = [model.id for model in client.models.list()]
    assert "claude-opus-5-5" in models
    assert client.models.retrieve("claude-opus-5-5").display_name == "Claude Opus 5 5"
    assert client.beta.models.retrieve("claude-haiku-5-5").id == "claude-haiku-5-5"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-2")


def test_a_scenario_can_know_more_models() -> None:
    scenario = parse_scenario({"models": ["mine"], "phases": [{"name": "p", "duration": 1}]}, "s")
    with chaos_server(scenario) as chaos, Anthropic(base_url=chaos.url, api_key="any") as client:
        assert client.messages.create(**_KW | {"model": "mine"}).model == "mine"
        assert "mine" in [model.id for model in client.models.list()]


def _requests(*models: str) -> Any:
    return [{"custom_id": f"r{index}", "params": _KW | {"model": model}} for index, model in enumerate(models)]


def test_a_batch_is_created_polled_read_and_deleted(client: Anthropic) -> None:
    batch = client.messages.batches.create(requests=_requests("claude-sonnet-5", "no-such-model"))
    batch = client.messages.batches.retrieve(batch.id)
    assert batch.processing_status == "ended"
    assert (batch.request_counts.succeeded, batch.request_counts.errored) == (1, 1)
    results = {line.custom_id: line.result for line in client.messages.batches.results(batch.id)}
    assert results["r0"].type == "succeeded"
    assert results["r0"].message.usage.output_tokens == 40
    assert results["r1"].type == "errored"
    assert results["r1"].error.error.type == "not_found_error"
    assert batch.id in [found.id for found in client.messages.batches.list()]
    assert client.messages.batches.delete(batch.id).id == batch.id
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(batch.id)


def test_a_batch_under_way_has_no_results_and_can_be_cancelled() -> None:
    with (
        chaos_server(_SLOW_BATCHES) as chaos,
        Anthropic(base_url=chaos.url, api_key="any", max_retries=0) as client,
    ):
        batches = client.beta.messages.batches
        batch = batches.create(requests=_requests("claude-sonnet-5"))
        assert (batch.processing_status, batch.results_url) == ("in_progress", None)
        with pytest.raises(anthropic.AnthropicError):
            batches.results(batch.id)
        with pytest.raises(anthropic.BadRequestError):
            batches.delete(batch.id)
        cancelled = batches.cancel(batch.id)
        assert (cancelled.processing_status, cancelled.request_counts.canceled) == ("ended", 1)
        assert [line.result.type for line in batches.results(batch.id)] == ["canceled"]
        chaos.reset()
        for gone in (batches.retrieve, batches.cancel, batches.delete):
            with pytest.raises(anthropic.NotFoundError):
                gone(batch.id)
        assert list(batches.list()) == []


async def test_the_async_client_does_all_of_it_too(aclient: tuple[AsyncAnthropic, AsyncChaos]) -> None:
    client, chaos = aclient
    assert (await client.messages.create(**_KW)).stop_reason == "end_turn"
    async with client.messages.stream(**_KW, tools=[_TOOL]) as stream:
        assert (await stream.get_final_message()).stop_reason == "tool_use"
    events = [event.type async for event in await client.beta.messages.create(**_KW, stream=True)]
    assert events[-1] == "message_stop"
    assert (await client.messages.count_tokens(model="claude-sonnet-5", messages=_KW["messages"])).input_tokens > 0
    assert [model.id async for model in client.models.list()]
    batch = await client.messages.batches.create(requests=_requests("claude-sonnet-5"))
    assert batch.processing_status == "in_progress"
    attempts = await chaos.settled()
    assert [attempt.end for attempt in attempts] == [End.COMPLETE] * len(attempts)
    assert [attempt.endpoint for attempt in attempts] == [
        "messages",
        "messages",
        "messages",
        "messages.count_tokens",
        "models",
        "messages.batches",
    ]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param({"model": None}, anthropic.BadRequestError, "model: Field required", id="no model"),
        pytest.param({"max_tokens": None}, anthropic.BadRequestError, "max_tokens: Field required", id="no max_tokens"),
        pytest.param({"messages": None}, anthropic.BadRequestError, "messages: Field required", id="no messages"),
        pytest.param({"model": "gpt"}, anthropic.NotFoundError, "model: gpt", id="unknown model"),
        pytest.param({"model": 3}, anthropic.BadRequestError, "model: Input should be a valid string", id="model"),
        pytest.param({"max_tokens": "9"}, anthropic.BadRequestError, "max_tokens: Input should be", id="text"),
        pytest.param({"max_tokens": 0}, anthropic.BadRequestError, "greater than or equal to 1", id="zero"),
        pytest.param({"messages": []}, anthropic.BadRequestError, "at least one message", id="no message"),
        pytest.param({"messages": "hi"}, anthropic.BadRequestError, "valid list", id="messages"),
        pytest.param({"messages": ["hi"]}, anthropic.BadRequestError, "messages.0: Input", id="message"),
        pytest.param({"messages": [{"role": []}]}, anthropic.BadRequestError, "messages.0.role", id="role"),
        pytest.param({"messages": [{"role": "user"}]}, anthropic.BadRequestError, "messages.0.content", id="content"),
        pytest.param(
            {"messages": [{"role": "user", "content": ""}, {"role": "user", "content": "x"}]},
            anthropic.BadRequestError,
            "messages.0: all messages must have non-empty content",
            id="empty",
        ),
        pytest.param({"temperature": 1.5}, anthropic.BadRequestError, "temperature: range: 0..1", id="temperature"),
        pytest.param({"stream": "yes"}, anthropic.BadRequestError, "stream: Input should be", id="stream"),
        pytest.param({"tools": {}}, anthropic.BadRequestError, "tools: Input should be a valid list", id="tools"),
        pytest.param({"tools": [1]}, anthropic.BadRequestError, "tools.0: Input should be", id="tool"),
        pytest.param({"tools": [{"name": 3}]}, anthropic.BadRequestError, "tools.0.name", id="tool's name"),
        pytest.param(
            {"tools": [], "tool_choice": {"type": "tool", "name": "x"}},
            anthropic.BadRequestError,
            "tool_choice.name",
            id="tool choice",
        ),
        pytest.param(
            {"thinking": {"type": "enabled"}}, anthropic.BadRequestError, "budget_tokens: Field required", id="budget"
        ),
        pytest.param(
            {"thinking": {"type": "enabled", "budget_tokens": 10}}, anthropic.BadRequestError, "1024", id="small budget"
        ),
        pytest.param(
            {"thinking": {"type": "enabled", "budget_tokens": 4_000}},
            anthropic.BadRequestError,
            "must be greater than",
            id="large budget",
        ),
    ],
)
def test_requests_are_checked_as_the_api_checks_them(
    client: Anthropic, change: dict[str, Any], error: type[anthropic.APIStatusError], message: str
) -> None:
    body = {key: value for key, value in (_KW | change).items() if value is not None}
    with pytest.raises(error, match=message.replace(".", r"\.")) as raised:
        client.post("/v1/messages", body=body, cast_to=object)
    found = raised.value.body
    assert isinstance(found, dict)
    assert found["request_id"] == raised.value.request_id


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "requests: Field required"),
        ({"requests": []}, "requests: List should have 1 to"),
        ({"requests": [{"custom_id": ""}]}, "requests.0.custom_id: String should have"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        ({"requests": [{"custom_id": "a", "params": {}}] * 2}, "requests.1.custom_id: custom_id must be unique"),
    ],
)
def test_batches_are_checked_too(client: Anthropic, body: dict[str, Any], message: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=message):
        client.post("/v1/messages/batches", body=body, cast_to=object)
