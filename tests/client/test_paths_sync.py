"""Every way of the sync SDK to make a call: one call record, one attempt record per request, equal to the truth."""

import threading
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest
from pydantic import BaseModel

from sidecar.chaos import Chaos
from sidecar.model import Outcome, Phase, RetryResult, Usage

Client = anthropic.Anthropic
Ask = dict[str, Any]


WAITED = {Phase.FIRST_BYTE, Phase.STALL}
PATIENCE = {True: 0.3, False: 30.0}  # only where a timeout is the point is it short


class Answer(BaseModel):
    text: str


def create(client: Client, ask: Ask) -> None:
    assert client.messages.create(**ask).stop_reason == "end_turn"


def create_stream(client: Client, ask: Ask) -> None:
    assert [event.type for event in client.messages.create(**ask, stream=True)][-1] == "message_stop"


def with_create_stream(client: Client, ask: Ask) -> None:
    with client.messages.create(**ask, stream=True) as stream:
        for _ in stream:
            pass


def text_stream(client: Client, ask: Ask) -> None:
    with client.messages.stream(**ask) as stream:
        assert "".join(stream.text_stream)


def final_message(client: Client, ask: Ask) -> None:
    with client.messages.stream(**ask) as stream:
        assert stream.get_final_message().usage.output_tokens


def final_text(client: Client, ask: Ask) -> None:
    with client.messages.stream(**ask) as stream:
        assert stream.get_final_text()


def stream_events(client: Client, ask: Ask) -> None:
    with client.messages.stream(**ask) as stream:
        assert [event.type for event in stream][-1] == "message_stop"


def until_done(client: Client, ask: Ask) -> None:
    with client.messages.stream(**ask) as stream:
        stream.until_done()


def raw_response(client: Client, ask: Ask) -> None:
    assert client.messages.with_raw_response.create(**ask).parse().content


def raw_response_stream(client: Client, ask: Ask) -> None:
    for _ in client.messages.with_raw_response.create(**ask, stream=True).parse():
        pass


def streaming_response(client: Client, ask: Ask) -> None:
    with client.messages.with_streaming_response.create(**ask) as response:
        assert response.parse().content


def streaming_response_lines(client: Client, ask: Ask) -> None:
    with client.messages.with_streaming_response.create(**ask) as response:
        for _ in response.iter_lines():
            pass


def streaming_response_stream(client: Client, ask: Ask) -> None:
    with client.messages.with_streaming_response.create(**ask, stream=True) as response:
        for _ in response.parse():
            pass


def beta(client: Client, ask: Ask) -> None:
    assert client.beta.messages.create(**ask, betas=["context-1m-2025-08-07"]).content


def beta_stream(client: Client, ask: Ask) -> None:
    with client.beta.messages.stream(**ask) as stream:
        assert stream.get_final_message().content


def beta_create_stream(client: Client, ask: Ask) -> None:
    assert [event.type for event in client.beta.messages.create(**ask, stream=True)][-1] == "message_stop"


def beta_raw_response(client: Client, ask: Ask) -> None:
    assert client.beta.messages.with_raw_response.create(**ask).parse().content


def options(client: Client, ask: Ask) -> None:
    client.with_options(timeout=30, max_retries=0).messages.create(**ask)


def copied(client: Client, ask: Ask) -> None:
    client.copy(default_headers={"x-app": "1"}).messages.create(**ask)


def per_request(client: Client, ask: Ask) -> None:
    client.messages.create(**ask, timeout=httpx2.Timeout(30, connect=2))


def gzip_stream(client: Client, ask: Ask) -> None:
    with client.messages.stream(**ask, extra_headers={"x-chaos": "ok;gzip-sse", "accept-encoding": "gzip"}) as stream:
        stream.until_done()


def raw_http_response(client: Client, ask: Ask) -> None:
    assert client.post("/v1/messages", body=ask, cast_to=httpx2.Response).json()["content"]


def in_a_thread(client: Client, ask: Ask) -> None:
    thread = threading.Thread(target=create, args=(client, ask))
    thread.start()
    thread.join()


def read_in_another_thread(client: Client, ask: Ask) -> None:
    stream = client.messages.create(**ask, stream=True)
    thread = threading.Thread(target=lambda: list(stream))
    thread.start()
    thread.join()


STREAMED = [
    create_stream,
    with_create_stream,
    text_stream,
    final_message,
    final_text,
    stream_events,
    until_done,
    raw_response_stream,
    streaming_response_stream,
    beta_stream,
    beta_create_stream,
    gzip_stream,
    read_in_another_thread,
]
WHOLE = [
    create,
    raw_response,
    streaming_response,
    beta,
    beta_raw_response,
    options,
    copied,
    per_request,
    raw_http_response,
    in_a_thread,
    streaming_response_lines,
]


@pytest.mark.parametrize("path", [*WHOLE, *STREAMED])
def test_a_message_is_one_call_and_one_attempt_with_its_tokens(
    path: Callable[[Client, Ask], None], installed: Any, chaos: Chaos, sync_client: Client, ask: Ask
) -> None:
    path(sync_client, ask)
    (truth,) = installed.agree(chaos, calls=1)
    call = installed.one
    assert (call.endpoint, call.model, call.outcome, call.attempts) == ("messages", ask["model"], Outcome.OK, 1)
    assert call.stream == (path in STREAMED)
    assert call.usage == Usage(input=truth.input_tokens or 0, output=truth.output_tokens or 0)
    assert call.stop_reason == truth.stop_reason
    assert (call.first_token is not None) == call.stream == (call.output_seconds is not None)
    (attempt,) = installed.attempts
    assert (attempt.max_gap is not None) == call.stream
    assert attempt.limits
    assert attempt.first_byte is not None
    assert 0 <= attempt.first_byte <= attempt.duration <= call.duration


def test_parse_is_one_call(installed: Any, chaos: Chaos, sync_client: Client, ask: Ask) -> None:
    sync_client.messages.parse(**ask, output_format=Answer)
    sync_client.beta.messages.parse(**ask, output_format=Answer)
    installed.agree(chaos, calls=2)
    assert {call.outcome for call in installed.calls} == {Outcome.OK}


def test_the_other_routes_have_their_names(installed: Any, chaos: Chaos, sync_client: Client, ask: Ask) -> None:
    count = {key: value for key, value in ask.items() if key != "max_tokens"}
    sync_client.messages.count_tokens(**count)
    sync_client.models.retrieve(next(iter(sync_client.models.list())).id)
    requests: Any = [{"custom_id": "a", "params": ask}]
    batch = sync_client.messages.batches.create(requests=requests)
    while sync_client.messages.batches.retrieve(batch.id).processing_status != "ended":
        pass
    assert len(list(sync_client.messages.batches.results(batch.id))) == 1
    with pytest.raises(anthropic.NotFoundError):
        sync_client.get("/v1/nowhere", cast_to=object)
    installed.agree(chaos)
    names = [call.endpoint for call in installed.calls]
    assert names[:4] == ["messages.count_tokens", "models", "models", "messages.batches"]
    assert names[-2:] == ["messages.batches.results", "other"]
    assert {call.outcome for call in installed.calls[:-1]} == {Outcome.OK}
    assert installed.calls[-1].outcome is Outcome.CLIENT_ERROR
    assert installed.calls[0].model == ask["model"]
    assert all(call.usage is None for call in installed.calls)


def test_a_tool_runner_makes_a_call_for_each_turn(installed: Any, chaos: Chaos, sync_client: Client, ask: Ask) -> None:
    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Tell the weather.

        Args:
            city: Where.
        """
        return f"fine in {city}"

    runner = sync_client.beta.messages.tool_runner(**ask, tools=[weather], max_iterations=2)
    turns = len(list(runner))
    installed.agree(chaos, calls=turns)
    assert turns >= 1


def test_a_custom_http_client_is_observed(installed: Any, chaos: Chaos, ask: Ask) -> None:
    class Own(httpx2.Client):
        def send(self, request: httpx2.Request, **more: Any) -> httpx2.Response:
            response = super().send(request, **more)
            if not more.get("stream"):
                assert response.text  # as before: what is not streamed has been read
            return response

    with anthropic.Anthropic(base_url=chaos.url, api_key="k", http_client=Own()) as client:
        create(client, ask)
        create_stream(client, ask)
    installed.agree(chaos, calls=2)


def test_event_hooks_and_other_requests_in_between_are_no_attempts(installed: Any, chaos: Chaos, ask: Ask) -> None:
    with httpx2.Client() as other:

        def hook(_: httpx2.Request) -> None:
            other.get(chaos.url + "/chaos/truth")

        with (
            httpx2.Client(event_hooks={"request": [hook]}) as http,
            anthropic.Anthropic(base_url=chaos.url, api_key="k", http_client=http) as client,
        ):
            create(client, ask)
    installed.agree(chaos, calls=1)


def test_the_retry_count_header_may_be_left_out(installed: Any, chaos: Chaos, sync_client: Client, ask: Ask) -> None:
    sync_client.messages.create(**ask, extra_headers={"x-stainless-retry-count": anthropic.Omit()})
    installed.agree(chaos, calls=1)


def test_retries_that_save_a_call(installed: Any, chaos: Chaos, sync_client: Client, ask: Ask, fault: Any) -> None:
    sync_client.messages.create(**ask, **fault("529;retry-after-ms=1,429;retry-after-ms=1,ok"))
    installed.agree(chaos, calls=1)
    call = installed.one
    assert (call.attempts, call.outcome, call.retry_result) == (3, Outcome.OK, RetryResult.RECOVERED)
    assert [wait.reason for wait in call.waits] == [Outcome.OVERLOADED, Outcome.RATE_LIMITED]
    assert all(wait.completed and wait.seconds > 0 for wait in call.waits)
    assert [a.number for a in installed.attempts] == [0, 1, 2]
    assert [a.error_type for a in installed.attempts] == ["overloaded_error", "rate_limit_error", None]


def test_retries_of_a_stream_are_counted_and_their_unread_errors_told(
    installed: Any, chaos: Chaos, sync_client: Client, ask: Ask, fault: Any
) -> None:
    with sync_client.messages.stream(**ask, **fault("529;retry-after-ms=1,ok")) as stream:
        stream.until_done()
    installed.agree(chaos, calls=1)
    assert installed.one.retry_result is RetryResult.RECOVERED
    assert [a.outcome for a in installed.attempts] == [Outcome.OVERLOADED, Outcome.OK]


def test_retries_that_do_not_help(installed: Any, chaos: Chaos, sync_client: Client, ask: Ask, fault: Any) -> None:
    with pytest.raises(anthropic.InternalServerError):
        sync_client.messages.create(**ask, **fault("500;retry-after-ms=1"))
    installed.agree(chaos, calls=1)
    call = installed.one
    assert (call.attempts, call.outcome, call.retry_result) == (3, Outcome.SERVER_ERROR, RetryResult.EXHAUSTED)
    assert call.error_type == "api_error"


@pytest.mark.parametrize(
    ("spec", "outcome", "phase", "status"),
    [
        ("400", Outcome.CLIENT_ERROR, None, 400),
        ("401", Outcome.CLIENT_ERROR, None, 401),
        ("429", Outcome.RATE_LIMITED, None, 429),
        ("429;spend", Outcome.CLIENT_ERROR, None, 429),
        ("500", Outcome.SERVER_ERROR, None, 500),
        ("504", Outcome.TIMEOUT, Phase.GATEWAY, 504),
        ("529", Outcome.OVERLOADED, None, 529),
        ("hang", Outcome.TIMEOUT, Phase.FIRST_BYTE, None),
        ("reset", Outcome.CONNECTION_ERROR, None, None),
        ("reset;when=after-headers", Outcome.CONNECTION_ERROR, None, 200),
        ("malformed-json", Outcome.SERVER_ERROR, None, 200),
        ("stall;after=1", Outcome.TIMEOUT, Phase.STALL, 200),
        ("truncate", Outcome.CONNECTION_ERROR, None, 200),
    ],
)
def test_each_fault_of_a_whole_answer_is_told_as_what_it_is(
    installed: Any,
    chaos: Chaos,
    sync_client: Client,
    ask: Ask,
    fault: Any,
    spec: str,
    outcome: Outcome,
    phase: Phase | None,
    status: int | None,
) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  # which one is the SDK's matter
        sync_client.with_options(max_retries=0, timeout=PATIENCE[phase in WAITED]).messages.create(**ask, **fault(spec))
    installed.agree(chaos, calls=1)
    (attempt,) = installed.attempts
    assert (attempt.outcome, attempt.phase, attempt.status) == (outcome, phase, status)
    assert (installed.one.outcome, installed.one.phase) == (outcome, phase)


@pytest.mark.parametrize(
    ("spec", "outcome", "phase"),
    [
        ("429", Outcome.RATE_LIMITED, None),
        ("429;spend", Outcome.CLIENT_ERROR, None),
        ("529", Outcome.OVERLOADED, None),
        ("hang", Outcome.TIMEOUT, Phase.FIRST_BYTE),
        ("stall;after=2", Outcome.TIMEOUT, Phase.STALL),
        ("stall;after=0", Outcome.TIMEOUT, Phase.STALL),
        ("truncate;after=2", Outcome.TRUNCATED, None),
        ("truncate-clean;after=2", Outcome.TRUNCATED, None),
        ("reset;after=2", Outcome.TRUNCATED, None),
        ("error-event;type=overloaded_error;after=2", Outcome.OVERLOADED, None),
        ("error-event;type=api_error;after=0", Outcome.SERVER_ERROR, None),
        ("error-event;type=timeout_error;after=1", Outcome.TIMEOUT, Phase.GATEWAY),
        ("malformed-sse;after=2", Outcome.SERVER_ERROR, None),
        ("ok;gzip-sse", Outcome.OK, None),
        ("drip;bytes=7;s=0", Outcome.OK, None),
    ],
)
@pytest.mark.parametrize("how", [create_stream, text_stream, streaming_response_stream])
def test_each_fault_of_a_stream_is_told_as_what_it_is(
    installed: Any,
    chaos: Chaos,
    sync_client: Client,
    ask: Ask,
    spec: str,
    outcome: Outcome,
    phase: Phase | None,
    how: Callable[[Client, Ask], None],
) -> None:
    client = sync_client.with_options(max_retries=0, timeout=PATIENCE[phase in WAITED])
    try:
        how(client, {**ask, "extra_headers": {"x-chaos": spec}})
    except Exception:  # noqa: BLE001  # which one is the SDK's matter; a clean truncation raises none
        assert outcome is not Outcome.OK
    installed.agree(chaos, calls=1)
    (attempt,) = installed.attempts
    assert (attempt.outcome, attempt.phase) == (outcome, phase)
    assert (installed.one.outcome, installed.one.phase) == (outcome, phase)


def test_a_silence_is_the_longest_gap(installed: Any, chaos: Chaos, sync_client: Client, ask: Ask) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        create_stream(sync_client.with_options(timeout=0.2), {**ask, "extra_headers": {"x-chaos": "stall;after=2"}})
    installed.agree(chaos, calls=1)
    (attempt,) = installed.attempts
    assert attempt.max_gap is not None
    assert attempt.max_gap_at is not None
    assert attempt.max_gap >= 0.19  # the whole wait that ended in the timeout
    assert attempt.max_gap_at <= attempt.duration - attempt.max_gap + 0.001


@pytest.mark.parametrize("spec", ["529", "400"])
def test_the_body_of_an_error_is_no_stream_that_could_be_silent(
    installed: Any, chaos: Chaos, sync_client: Client, ask: Ask, fault: Any, spec: str
) -> None:
    with pytest.raises(anthropic.APIStatusError):
        sync_client.with_options(max_retries=0).messages.create(**ask, **fault(spec), stream=True)
    installed.agree(chaos, calls=1)
    (attempt,) = installed.attempts
    assert (attempt.stream, attempt.max_gap, attempt.max_gap_at) == (True, None, None)
    assert installed.telemetry.histogram("claude_stream_max_gap_seconds").total == 0


def leave_early(client: Client, ask: Ask) -> None:
    with client.messages.stream(**ask) as stream:
        for _ in stream:
            break


def leave_its_text(client: Client, ask: Ask) -> None:
    with client.messages.stream(**ask) as stream:
        next(stream.text_stream)


def leave_its_events_of_beta(client: Client, ask: Ask) -> None:
    with client.beta.messages.stream(**ask) as stream:
        next(iter(stream))


def interrupt_inside(client: Client, ask: Ask) -> None:
    with pytest.raises(KeyboardInterrupt), client.messages.stream(**ask) as stream:  # noqa: PT012  # the block is the case
        for _ in stream:
            raise KeyboardInterrupt


def leave_without_closing(client: Client, ask: Ask) -> None:
    for _ in client.messages.create(**ask, stream=True):
        break


def close(client: Client, ask: Ask) -> None:
    client.messages.create(**ask, stream=True).close()


def never_read(client: Client, ask: Ask) -> None:
    with client.messages.stream(**ask):
        pass


def drop(client: Client, ask: Ask) -> None:
    client.messages.create(**ask, stream=True)
    client.close()  # nobody else ends the connection of a dropped response, with us or without


def drop_raw(client: Client, ask: Ask) -> None:
    client.messages.with_raw_response.create(**ask, stream=True)
    client.close()


def fail_inside(client: Client, ask: Ask) -> None:
    with pytest.raises(KeyError), client.messages.stream(**ask) as stream:  # noqa: PT012  # the block is the case
        for _ in stream:
            raise KeyError


def fail_to_decode_inside(client: Client, ask: Ask) -> None:
    import json

    with (  # noqa: PT012  # the block is the case
        pytest.raises(ValueError, match="Expecting"),
        client.messages.stream(**ask) as stream,
    ):
        for _ in stream:
            json.loads("the application's own mistake")


def refused_by_the_sdk_inside(client: Client, ask: Ask) -> None:
    with (  # noqa: PT012  # the block is the case
        pytest.raises(ValueError, match="Streaming is required"),
        client.messages.stream(**ask) as stream,
    ):
        for _ in stream:
            client.messages.create(**{**ask, "max_tokens": 100_000})


def leave_a_streaming_response(client: Client, ask: Ask) -> None:
    with client.messages.with_streaming_response.create(**ask, stream=True):
        pass


def close_while_an_older_error_is_handled(client: Client, ask: Ask) -> None:
    broken = {**ask, "extra_headers": {"x-chaos": "malformed-sse;after=1"}}
    try:
        for _ in client.messages.create(**broken, stream=True):
            pass
    except ValueError:
        with client.messages.stream(**ask) as stream:
            next(iter(stream))


@pytest.mark.parametrize(
    "leave",
    [
        leave_early,
        leave_its_text,
        leave_its_events_of_beta,
        interrupt_inside,
        leave_without_closing,
        close,
        never_read,
        drop,
        drop_raw,
        fail_inside,
        fail_to_decode_inside,
        refused_by_the_sdk_inside,
        leave_a_streaming_response,
        close_while_an_older_error_is_handled,
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_application_that_stops_reading_has_cancelled(
    leave: Callable[[Client, Ask], None], installed: Any, chaos: Chaos, sync_client: Client, ask: Ask
) -> None:
    # A stream that is still going on: what was left unread must not be there already.
    leave(sync_client, {**ask, "extra_headers": {"x-chaos": "stall;after=2"}} if leave is not fail_inside else ask)
    installed.agree(chaos)
    assert installed.calls[-1].outcome is Outcome.CANCELLED
    assert installed.attempts[-1].outcome is Outcome.CANCELLED
    assert installed.calls[-1].error_type is None


def test_what_was_told_before_the_application_left_is_kept(
    installed: Any, chaos: Chaos, sync_client: Client, ask: Ask, fault: Any
) -> None:
    with sync_client.messages.create(**ask, **fault("stall;after=2"), stream=True) as stream:
        for event in stream:
            if event.type == "content_block_delta":
                break
    (truth,) = installed.agree(chaos, calls=1)
    assert installed.one.usage is not None
    assert installed.one.usage.input == truth.input_tokens
    assert installed.one.first_token is not None


def test_leaving_after_the_end_of_the_message_is_no_cancellation(
    installed: Any, chaos: Chaos, sync_client: Client, ask: Ask
) -> None:
    with sync_client.messages.create(**ask, stream=True) as stream:
        for event in stream:
            if event.type == "message_stop":
                break
    installed.agree(chaos, calls=1)
    assert installed.one.outcome is Outcome.OK


def test_failures_before_anything_is_sent_are_the_applications(installed: Any, ask: Ask) -> None:
    with anthropic.Anthropic(base_url="nonsense://x", api_key="k", max_retries=0) as client:
        with pytest.raises(anthropic.APIConnectionError):
            client.messages.create(**ask)
        assert installed.one.outcome is Outcome.CLIENT_ERROR
        with pytest.raises(TypeError):
            client.messages.create(**{**ask, "messages": object()})
    assert installed.calls[1].outcome is Outcome.CLIENT_ERROR
    assert installed.calls[1].attempts == 0
    assert len(installed.attempts) == 1


def test_a_refused_connection(installed: Any, ask: Ask) -> None:
    with anthropic.Anthropic(base_url="http://127.0.0.1:9", api_key="k", max_retries=1) as client:
        client._calculate_retry_timeout = lambda *_: 0.0  # type: ignore[method-assign]
        with pytest.raises(anthropic.APIConnectionError):
            client.messages.create(**ask)
    assert installed.one.outcome is Outcome.CONNECTION_ERROR
    assert installed.one.attempts == 2
    assert (installed.attempts[0].host, installed.attempts[0].port) == ("127.0.0.1", 9)


def test_an_interrupted_wait_for_a_retry_is_an_abandoned_call(
    installed: Any, chaos: Chaos, sync_client: Client, ask: Ask, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("anthropic._base_client.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sync_client.messages.create(**ask, **fault("529"))
    truth = chaos.settled()
    assert len(truth) == len(installed.attempts) == 1
    call = installed.one
    assert call.outcome is Outcome.CANCELLED
    assert [(wait.reason, wait.completed) for wait in call.waits] == [(Outcome.OVERLOADED, False)]
    assert call.retry_result is None


def test_a_middleware_that_answers_itself_is_a_call_without_attempts(installed: Any, chaos: Chaos, ask: Ask) -> None:
    def cached(_: Any, __: Any) -> Any:
        return "from the cache"

    with anthropic.Anthropic(base_url=chaos.url, api_key="k", middleware=[cached]) as client:
        answered: Any = client.messages.create(**ask)
    assert answered == "from the cache"
    assert (installed.one.outcome, installed.one.attempts) == (Outcome.OK, 0)
    installed.agree(chaos, calls=1)


def test_a_middleware_that_asks_twice_makes_two_attempts(installed: Any, chaos: Chaos, ask: Ask) -> None:
    def twice(request: Any, call_next: Any) -> Any:
        call_next(request)
        return call_next(request)

    with anthropic.Anthropic(base_url=chaos.url, api_key="k", middleware=[twice]) as client:
        create(client, ask)
    assert installed.one.attempts == len(chaos.settled()) == len(installed.attempts) == 2
    assert installed.one.retry_result is None
