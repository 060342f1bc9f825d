"""A whole answer that is streamed underneath is the answer the SDK would have given, and breaks as that would."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from pydantic import BaseModel

import sidecar
from sidecar.chaos import Chaos
from sidecar.client.long.assembly import Assembly, Unreadable
from sidecar.client.observer import Defaults
from sidecar.model import Outcome, Phase, Profile
from sidecar.policy import Policy, Retry
from tests.client.long_events import block, delta, end, finish, said, start, text, thinks

POLICY = Policy(stream_underneath=True, retry=Retry(base=0))
CANARY = "CANARY-7f3a"
Create = Callable[..., Any]


class Answer(BaseModel):
    text: str


def _sync(url: str, use: Callable[[Any], Any], http: Any = None, **options: Any) -> Any:
    with anthropic.Anthropic(base_url=url, api_key="k", http_client=http and http()) as client:
        return use(sidecar.instrument(client, **{"policy": POLICY, **options}))


def _async(url: str, use: Callable[[Any], Any], http: Any = None, **options: Any) -> Any:
    async def run() -> Any:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="k", http_client=http and http()) as client:
            return await use(sidecar.instrument(client, **{"policy": POLICY, **options}))

    return asyncio.run(run())


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def using(kind: str, chaos: Chaos, seen: Any) -> Create:
    """Do something with a client of either kind whose whole answers are streamed underneath."""
    run = _sync if kind == "sync" else _async
    return lambda use, **options: run(chaos.url, use, **{"telemetry": seen, **options})


def alike(one: Any, other: Any) -> bool:
    """Whether two answers of the fake API are the same, but for ids and the length of their requests."""
    told = [each.to_dict() | {"id": None} for each in (one, other)]
    for each in told:
        each["usage"]["input_tokens"] = 0
        for part in each["content"]:
            part.pop("id", None)
    return type(one) is type(other) and told[0] == told[1]


TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tools": [TOOL]},
        {"thinking": {"type": "adaptive"}, "max_tokens": 2000},
        {"max_tokens": 5},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"extra_headers": {"x-chaos": "ok;stop=refusal"}},
        {"extra_headers": {"x-chaos": "ok;gzip-sse"}},
        {"extra_headers": {"x-chaos": "drip;bytes=7;s=0"}},
    ],
)
def test_the_message_is_the_same(
    options: dict[str, Any], using: Create, chaos: Chaos, seen: Any, sync_client: Any, ask: Any
) -> None:
    plain = sync_client.messages.create(**ask | options)
    chaos.settled()
    chaos.reset()
    message = using(lambda client: client.messages.create(**ask | options))
    assert alike(message, plain)
    assert message._request_id == seen.one.request_id
    (truth,) = seen.agree(chaos, calls=1)
    (attempt,) = seen.attempts
    assert (truth.stream, attempt.stream) == (True, True)
    assert attempt.first_token is not None
    assert attempt.max_gap is not None


def test_the_call_s_record_says_what_the_application_asked_for(
    using: Create, chaos: Chaos, seen: Any, ask: Any
) -> None:
    using(lambda client: client.messages.create(**ask))
    (truth,) = seen.agree(chaos, calls=1)
    assert (seen.one.stream, seen.one.outcome, seen.one.stop_reason) == (False, Outcome.OK, "end_turn")
    assert (seen.one.usage.input, seen.one.usage.output) == (truth.input_tokens, truth.output_tokens)
    assert seen.one.first_token is not None


def test_raw_responses_are_those_of_a_whole_answer(using: Create, chaos: Chaos, seen: Any, ask: Any) -> None:
    raw = using(lambda client: client.messages.with_raw_response.create(**ask))
    assert raw.headers["content-type"] == "application/json"
    assert raw.http_response.json()["stop_reason"] == "end_turn"
    assert (raw.status_code, raw.headers["request-id"]) == (200, seen.one.request_id)
    assert raw.elapsed.total_seconds() > 0
    assert "transfer-encoding" not in raw.headers
    assert seen.one.usage is not None
    (truth,) = seen.agree(chaos, calls=1)
    assert truth.stream


@pytest.mark.parametrize(
    ("use", "kind_of_answer"),
    [
        (lambda client, ask: client.messages.parse(**ask, output_format=Answer), "ParsedMessage"),
        (lambda client, ask: client.beta.messages.parse(**ask, output_format=Answer), "ParsedBetaMessage"),
        (lambda client, ask: client.beta.messages.create(**ask), "BetaMessage"),
    ],
)
def test_parse_and_the_beta_api_work_on_it(
    use: Any, kind_of_answer: str, using: Create, chaos: Chaos, seen: Any, ask: Any
) -> None:
    message = using(lambda client: use(client, ask))
    assert type(message).__name__.startswith(kind_of_answer)
    assert getattr(message, "parsed_output", None) == (
        Answer(text="chaos") if "parse" in kind_of_answer.lower() else None
    )
    (truth,) = seen.agree(chaos, calls=1)
    assert truth.stream


@pytest.mark.parametrize(
    ("use", "streams"),
    [
        (lambda client, ask: client.messages.create(**ask, stream=True), True),
        (lambda client, ask: client.messages.create(**ask, extra_body={"stream": False}), False),
        (lambda client, _: client.models.list(), False),
        (lambda client, ask: client.messages.count_tokens(messages=ask["messages"], model=ask["model"]), False),
    ],
)
def test_everything_else_is_left_alone(use: Any, streams: bool, chaos: Chaos, seen: Any, ask: Any) -> None:
    def consume(client: Any) -> None:
        answer = use(client, ask)
        if streams:
            list(answer)

    _sync(chaos.url, consume, telemetry=seen)
    (truth,) = seen.agree(chaos, calls=1)
    assert truth.stream is streams


def test_what_the_application_reads_by_itself_is_left_alone(chaos: Chaos, seen: Any, ask: Any) -> None:
    def lines(client: Any) -> list[str]:
        with client.messages.with_streaming_response.create(**ask) as response:
            return list(response.iter_lines())

    assert json.loads("".join(_sync(chaos.url, lines, telemetry=seen)))["type"] == "message"
    (truth,) = seen.agree(chaos, calls=1)
    assert not truth.stream


def test_without_the_policy_nothing_is_streamed(using: Create, chaos: Chaos, seen: Any, ask: Any) -> None:
    for policy in (None, True, Policy()):
        using(lambda client: client.messages.create(**ask), policy=policy)
    assert [truth.stream for truth in chaos.settled()] == [False] * 3
    assert [attempt.stream for attempt in seen.attempts] == [False] * 3


LONG = 60_000
GUARD = "Streaming is required for operations that may take longer than 10 minutes"


def test_the_sdk_s_guard_against_long_answers_is_not_needed(using: Create, chaos: Chaos, seen: Any, ask: Any) -> None:
    assert using(lambda client: client.messages.create(**ask | {"max_tokens": LONG})).stop_reason == "end_turn"
    using(lambda client: client.with_options(max_retries=0).messages.create(**ask | {"max_tokens": LONG}))
    assert all(truth.stream for truth in seen.agree(chaos, calls=2))


@pytest.mark.parametrize("policy", [None, Policy(), POLICY])
def test_the_guard_stays_where_the_answer_is_not_streamed(
    policy: Any, using: Create, chaos: Chaos, seen: Any, ask: Any
) -> None:
    with pytest.raises(ValueError, match=GUARD):
        using(
            lambda client: client.messages.create(**ask | {"max_tokens": LONG}, extra_body={"stream": False}),
            policy=policy,
        )
    assert chaos.settled() == ()
    assert [call.outcome for call in seen.calls] == ([] if policy is not POLICY else [Outcome.CLIENT_ERROR])


def test_the_guard_stays_for_a_profile_whose_answers_are_not_streamed(
    chaos: Chaos, seen: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which profile a call has is known only after the guard has spoken."""
    table = {profile: Policy(profile=profile, stream_underneath=profile == "agentic") for profile in Profile}
    monkeypatch.setattr(Defaults, "table", table)

    def both(client: Any) -> None:
        headers = {"x-sidecar-profile": "agentic"}
        assert client.messages.create(**ask | {"max_tokens": LONG}, extra_headers=headers).content
        client.messages.create(**ask | {"max_tokens": LONG})

    with pytest.raises(ValueError, match=GUARD):
        _sync(chaos.url, both, telemetry=seen, policy=True)
    (truth,) = chaos.settled()
    assert truth.stream


def test_the_configuration_file_may_ask_for_it(
    chaos: Chaos, seen: Any, ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Defaults, "table", None)
    (tmp_path / "sidecar.toml").write_text("stream_underneath = true\n")
    monkeypatch.chdir(tmp_path)
    _sync(chaos.url, lambda client: client.messages.create(**ask), telemetry=seen, policy="interactive")
    (truth,) = seen.agree(chaos, calls=1)
    assert truth.stream


@pytest.mark.parametrize(
    ("fault", "outcome", "status"),
    [
        ("truncate;after=2", Outcome.TRUNCATED, 200),
        ("truncate-clean;after=2", Outcome.TRUNCATED, 200),
        ("reset;when=after-headers;after=2", Outcome.TRUNCATED, 200),
        ("error-event;after=2", Outcome.OVERLOADED, 200),
        ("error-event;after=0;type=rate_limit_error", Outcome.RATE_LIMITED, 200),
        ("529", Outcome.OVERLOADED, 529),
        ("hang;s=0", Outcome.CONNECTION_ERROR, None),
    ],
)
def test_what_breaks_is_tried_again_for_nothing_of_it_was_handed_over(
    fault: str, outcome: Outcome, status: int | None, using: Create, chaos: Chaos, seen: Any, ask: Any
) -> None:
    chaos.enqueue(f"{fault},ok")
    assert using(lambda client: client.messages.create(**ask)).stop_reason == "end_turn"
    seen.agree(chaos, calls=1)
    first, second = seen.attempts
    assert (first.outcome, first.status, second.outcome) == (outcome, status, Outcome.OK)
    assert (seen.one.outcome, seen.one.attempts) == (Outcome.OK, 2)


def test_a_stall_is_broken_off_and_tried_again(using: Create, chaos: Chaos, seen: Any, ask: Any) -> None:
    chaos.enqueue("stall;after=2,ok")
    assert using(lambda client: client.messages.create(**ask, timeout=0.5)).content
    seen.agree(chaos, calls=1)
    assert (seen.attempts[0].outcome, seen.attempts[0].phase) == (Outcome.TIMEOUT, Phase.STALL)


@pytest.mark.parametrize(
    ("fault", "error", "outcome"),
    [
        ("error-event;after=2", anthropic.OverloadedError, Outcome.OVERLOADED),
        ("error-event;after=2;type=invalid_request_error", anthropic.BadRequestError, Outcome.CLIENT_ERROR),
        ("truncate-clean;after=2", anthropic.APIConnectionError, Outcome.TRUNCATED),
        ("malformed-json;after=2", anthropic.APIConnectionError, Outcome.SERVER_ERROR),
        ("malformed-sse;after=2", anthropic.APIConnectionError, Outcome.SERVER_ERROR),
        ("400", anthropic.BadRequestError, Outcome.CLIENT_ERROR),
    ],
)
def test_what_cannot_be_mended_is_raised_as_of_a_whole_answer(
    fault: str, error: type[Exception], outcome: Outcome, using: Create, chaos: Chaos, seen: Any, ask: Any
) -> None:
    chaos.enqueue(f"{fault}, {fault}, {fault}")
    with pytest.raises(error):
        using(lambda client: client.messages.create(**ask))
    seen.agree(chaos, calls=1)
    assert {record.outcome for record in (*seen.attempts, *seen.calls)} == {outcome}


def test_nothing_of_what_was_said_is_in_errors_records_or_logs(
    using: Create, chaos: Chaos, seen: Any, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shown = []
    for fault in ("malformed-json;after=2", "truncate;after=3", "error-event;after=3"):
        chaos.enqueue(f"{fault}, {fault}, {fault}")
        with pytest.raises(anthropic.APIError) as broken:
            using(lambda client: client.messages.create(**ask | {"system": CANARY}))
        error: BaseException | None = broken.value
        while error is not None:
            shown += [str(error), repr(error)]
            error = error.__cause__
    shown += [repr(record) for record in (*seen.calls, *seen.attempts)]
    shown += [record.getMessage() for record in caplog.records]
    assert not [each for each in shown if CANARY in each or "Waiting" in each]


CITATION = {"type": "char_location", "cited_text": "x", "document_index": 0, "start_char_index": 0, "end_char_index": 1}
SEARCH = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
RICH = [
    start({"cache_creation": {"ephemeral_5m_input_tokens": 3}, "of_the_future": 1}),
    {"type": "ping"},
    *thinks(0),
    block(1, SEARCH),
    delta(1, "input_json_delta", "partial_json", '{"query": "w'),
    delta(1, "input_json_delta", "partial_json", 'aiting"}'),
    end(1),
    block(2, FOUND),
    end(2),
    block(3, text()),
    said(3, "Wait"),
    said(3, "ing."),
    {"type": "content_block_delta", "index": 3, "delta": {"type": "citations_delta", "citation": CITATION}},
    end(3),
    block(4, {"type": "of_the_future", "shape": [1]}),
    end(4),
    {"type": "news", "of": "the future"},
    {
        "type": "message_delta",
        "delta": {
            "stop_reason": "pause_turn",
            "stop_sequence": None,
            "container": {"id": "c", "expires_at": "2026-11-21T00:00:00Z"},
        },
        "usage": {"output_tokens": 12, "server_tool_use": {"web_search_requests": 1}},
    },
    {"type": "message_stop"},
]
WHOLE = {
    **start()["message"],
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {**SEARCH, "input": {"query": "waiting"}},
        FOUND,
        {**text("Waiting."), "citations": [CITATION]},
        {"type": "of_the_future", "shape": [1]},
    ],
    "stop_reason": "pause_turn",
    "stop_sequence": None,
    "container": {"id": "c", "expires_at": "2026-11-21T00:00:00Z"},
    "usage": {
        "input_tokens": 5,
        "output_tokens": 12,
        "cache_creation": {"ephemeral_5m_input_tokens": 3},
        "of_the_future": 1,
        "server_tool_use": {"web_search_requests": 1},
    },
}


def encoded(events: Any) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


class Canned:
    """Answers with the same message either way, in memory or chunk by chunk."""

    def __init__(self, *, chunk: int | None) -> None:
        self._chunk = chunk
        self.streamed: list[bool] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        streams = json.loads(request.content).get("stream", False)
        self.streamed.append(streams)
        if not streams:
            return httpx2.Response(200, json=WHOLE, headers={"request-id": "req_1"})
        body = encoded(RICH)
        headers = {"content-type": "text/event-stream; charset=utf-8", "request-id": "req_1"}
        if self._chunk is None:
            return httpx2.Response(200, content=body, headers=headers)
        return httpx2.Response(200, stream=self._cut(body), headers=headers)

    def _cut(self, body: bytes) -> Any:
        size = self._chunk or 1

        class Chunks(httpx2.SyncByteStream, httpx2.AsyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                return (body[i : i + size] for i in range(0, len(body), size))

            async def __aiter__(self) -> Any:
                for piece in self:
                    yield piece

        return Chunks()


@pytest.mark.parametrize("chunk", [None, 1, 100])
def test_every_kind_of_block_and_field_is_kept(chunk: int | None, kind: str, seen: Any, ask: Any) -> None:
    canned = Canned(chunk=chunk)
    client_class: Any = httpx2.Client if kind == "sync" else httpx2.AsyncClient
    run = _sync if kind == "sync" else _async
    answers = [
        run(
            "http://api.test",
            lambda client: client.messages.create(**ask),
            lambda: client_class(transport=httpx2.MockTransport(canned)),
            telemetry=seen,
            policy=policy,
        )
        for policy in (POLICY, None)
    ]
    assert canned.streamed == [True, False]
    assert answers[0] == answers[1]
    assert answers[0].to_dict(warnings=False) == answers[1].to_dict(warnings=False)
    assert [type(part) for part in answers[0].content] == [type(part) for part in answers[1].content]
    assert answers[0]._request_id == answers[1]._request_id == "req_1"
    assert [call.outcome for call in seen.calls] == [Outcome.OK, Outcome.OK]
    assert seen.calls[0].usage == seen.calls[1].usage


def test_a_server_that_does_not_stream_is_no_fault(kind: str, seen: Any, ask: Any) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=WHOLE)

    client_class: Any = httpx2.Client if kind == "sync" else httpx2.AsyncClient
    message = (_sync if kind == "sync" else _async)(
        "http://api.test",
        lambda client: client.messages.create(**ask),
        lambda: client_class(transport=httpx2.MockTransport(answer)),
        telemetry=seen,
    )
    assert (message.stop_reason, seen.one.outcome, seen.one.usage.output) == ("pause_turn", Outcome.OK, 12)


def test_bedrock_s_streams_are_none_of_ours(seen: Any, ask: Any) -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, json=WHOLE)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    with anthropic.AnthropicBedrock(api_key="k", aws_region="r", http_client=http) as client:
        sidecar.instrument(client, telemetry=seen, policy=POLICY)
        assert client.messages.create(**ask).stop_reason == "pause_turn"
    assert asked[0].url.path.endswith("/invoke")
    assert "stream" not in json.loads(asked[0].content)


def test_a_fault_of_ours_leaves_the_call_as_it_was(
    chaos: Chaos, seen: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.client.long.underneath._is_convertible", None)
    assert _sync(chaos.url, lambda client: client.messages.create(**ask), telemetry=seen).content
    assert [where for where, _ in seen.faults] == ["client.underneath"]


def fed(*chunks: bytes) -> Assembly:
    assembly = Assembly()
    for chunk in chunks:
        assembly.feed(chunk)
    return assembly


@pytest.mark.parametrize(
    "chunk",
    [
        b"event: message_start\ndata: [1]\n\n",
        b"event: message_start\ndata: {\n\n",
        encoded([start(), start()]),
        encoded([said(0, "x")]),
    ],
)
def test_what_the_api_does_not_send_is_unreadable(chunk: bytes) -> None:
    with pytest.raises(Unreadable):
        fed(chunk)


def test_a_message_nested_too_deep_to_be_written_is_unreadable() -> None:
    assembly = fed(encoded([start()]))
    nested: dict[str, Any] = {}
    assembly._builder._message["nested"] = nested
    for _ in range(100_000):
        nested["a"] = nested = {}
    assembly.feed(encoded(finish("end_turn")))
    with pytest.raises(Unreadable, match="nested"):
        assembly.answer()


def test_what_follows_an_error_is_not_looked_at_and_its_type_gives_the_status() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    answer = fed(encoded([start(), error]), b"event: x\ndata: nonsense\n\n").answer()
    assert answer is not None
    assert (answer.status, json.loads(answer.body)) == (529, error)
    unknown = fed(encoded([{"type": "error"}])).answer()
    assert unknown is not None
    assert unknown.status == 500
    assert fed(encoded([start()])).answer() is None
