"""Every fault yields through the SDK what its users meet: which exception, how many attempts, how it ended."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic, AsyncAnthropic

from sidecar.chaos import AsyncChaos, Chaos, End, chaos_server
from sidecar.chaos.faults import FAULTS
from sidecar.model import Outcome, Phase, Stage, classify_exception

_KW: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 4_000,
    "messages": [{"role": "user", "content": "Hello"}],
}
_SILENCE = httpx2.Timeout(0.1, connect=5.0)
"""For faults that never answer: nothing can come too late for it."""
_STALL = httpx2.Timeout(1.0, connect=5.0)
"""For faults that begin to answer, which must come in time on a busy machine too."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault, asked for with or without a stream, and what must come of it."""

    fault: str
    stream: bool
    raised: type[BaseException] | None
    ends: tuple[End, ...]
    """How the server saw each attempt end: as many as there were attempts."""
    outcome: Outcome = Outcome.OK
    phase: Phase | None = None
    cause: type[BaseException] | None = None


_PLAIN, _STREAM = False, True
_RETRIED = (End.COMPLETE,) * 2
_ONCE = (End.COMPLETE,)
_LEFT = (End.CLIENT_LEFT,)
_OVERLOADED = anthropic.APIStatusError
"""What early and late SDKs have in common: the first of 2.x make it no InternalServerError."""


def _status(
    fault: str, raised: type[BaseException], outcome: Outcome, ends: tuple[End, ...], **more: Any
) -> list[Case]:
    return [Case(fault, stream, raised, ends, outcome, **more) for stream in (_PLAIN, _STREAM)]


_CASES = [
    *_status("400", anthropic.BadRequestError, Outcome.CLIENT_ERROR, _ONCE),
    *_status("401", anthropic.AuthenticationError, Outcome.CLIENT_ERROR, _ONCE),
    *_status("402", anthropic.APIStatusError, Outcome.CLIENT_ERROR, _ONCE),
    *_status("403", anthropic.PermissionDeniedError, Outcome.CLIENT_ERROR, _ONCE),
    *_status("404", anthropic.NotFoundError, Outcome.CLIENT_ERROR, _ONCE),
    *_status("408", anthropic.APIStatusError, Outcome.TIMEOUT, _RETRIED, phase=Phase.GATEWAY),
    *_status("409", anthropic.ConflictError, Outcome.CLIENT_ERROR, _RETRIED),
    *_status("413", anthropic.APIStatusError, Outcome.CLIENT_ERROR, _ONCE),
    *_status("429", anthropic.RateLimitError, Outcome.RATE_LIMITED, _RETRIED),
    *_status("429;retry-after=0.01", anthropic.RateLimitError, Outcome.RATE_LIMITED, _RETRIED),
    *_status("429;spend", anthropic.RateLimitError, Outcome.CLIENT_ERROR, _ONCE),
    *_status("500", anthropic.InternalServerError, Outcome.SERVER_ERROR, _RETRIED),
    *_status("500;should-retry=false", anthropic.InternalServerError, Outcome.SERVER_ERROR, _ONCE),
    *_status("502", anthropic.InternalServerError, Outcome.SERVER_ERROR, _RETRIED),
    *_status("503", anthropic.InternalServerError, Outcome.SERVER_ERROR, _RETRIED),
    *_status("504", anthropic.InternalServerError, Outcome.TIMEOUT, _RETRIED, phase=Phase.GATEWAY),
    *_status("524", anthropic.InternalServerError, Outcome.TIMEOUT, _RETRIED, phase=Phase.GATEWAY),
    *_status("529", _OVERLOADED, Outcome.OVERLOADED, _RETRIED),
    *(
        Case(
            "hang", stream, anthropic.APITimeoutError, _LEFT * 2, Outcome.TIMEOUT, Phase.FIRST_BYTE, httpx2.ReadTimeout
        )
        for stream in (_PLAIN, _STREAM)
    ),
    *(
        Case("slow-headers;s=30", stream, anthropic.APITimeoutError, _LEFT * 2, Outcome.TIMEOUT, Phase.FIRST_BYTE)
        for stream in (_PLAIN, _STREAM)
    ),
    *(
        Case("hang;s=0.01", stream, anthropic.APIConnectionError, (End.CUT,) * 2, Outcome.CONNECTION_ERROR)
        for stream in (_PLAIN, _STREAM)
    ),
    *(
        Case("reset", stream, anthropic.APIConnectionError, (End.RESET,) * 2, Outcome.CONNECTION_ERROR)
        for stream in (_PLAIN, _STREAM)
    ),
    # Mid-stream faults are never retried by the SDK, and most do not even come as its own exceptions.
    Case("stall;after=3", _STREAM, httpx2.ReadTimeout, _LEFT, Outcome.TIMEOUT, Phase.STALL),
    Case("truncate;after=3", _STREAM, httpx2.RemoteProtocolError, (End.CUT,), Outcome.TRUNCATED),
    Case("truncate-clean;after=3", _STREAM, None, (End.ENDED_EARLY,)),
    Case("reset;when=after-headers", _STREAM, httpx2.ReadError, (End.RESET,), Outcome.TRUNCATED),
    Case("reset;after=3", _STREAM, httpx2.ReadError, (End.RESET,), Outcome.TRUNCATED),
    Case("error-event;after=3", _STREAM, anthropic.APIStatusError, _ONCE, Outcome.OVERLOADED),
    Case("error-event;type=api_error", _STREAM, anthropic.APIStatusError, _ONCE, Outcome.SERVER_ERROR),
    Case("error-event;type=timeout_error", _STREAM, anthropic.APIStatusError, _ONCE, Outcome.TIMEOUT, Phase.GATEWAY),
    Case("malformed-json", _STREAM, json.JSONDecodeError, _ONCE, Outcome.SERVER_ERROR),
    Case("malformed-sse", _STREAM, json.JSONDecodeError, _ONCE, Outcome.SERVER_ERROR),
    # The same faults within a plain body: the SDK reads it inside its retries.
    Case("stall", _PLAIN, anthropic.APITimeoutError, _LEFT * 2, Outcome.TIMEOUT, Phase.STALL),
    Case("truncate", _PLAIN, anthropic.APIConnectionError, (End.CUT,) * 2, Outcome.CONNECTION_ERROR),
    Case("truncate-clean", _PLAIN, json.JSONDecodeError, (End.ENDED_EARLY,), Outcome.SERVER_ERROR),
    Case("reset;when=after-headers", _PLAIN, anthropic.APIConnectionError, (End.RESET,) * 2, Outcome.CONNECTION_ERROR),
    Case("error-event", _PLAIN, _OVERLOADED, _RETRIED, Outcome.OVERLOADED),
    Case("malformed-json", _PLAIN, json.JSONDecodeError, _ONCE, Outcome.SERVER_ERROR),
    Case("malformed-sse", _PLAIN, json.JSONDecodeError, _ONCE, Outcome.SERVER_ERROR),
    # Slow or large, but whole.
    *(Case("slow-headers;s=0.01", stream, None, _ONCE) for stream in (_PLAIN, _STREAM)),
    *(Case("stall;after=2;s=0.01", stream, None, _ONCE) for stream in (_PLAIN, _STREAM)),
    *(Case("drip;bytes=200;s=0.001", stream, None, _ONCE) for stream in (_PLAIN, _STREAM)),
    *(Case("huge;mb=2", stream, None, _ONCE) for stream in (_PLAIN, _STREAM)),
    *(Case("ok;gzip-sse", stream, None, _ONCE) for stream in (_PLAIN, _STREAM)),
]


def _named(case: Case) -> str:
    return f"{case.fault}{' (stream)' if case.stream else ''}"


def test_every_fault_there_is_has_its_cases_with_and_without_a_stream() -> None:
    tested = {(case.fault.partition(";")[0], case.stream) for case in _CASES}
    assert tested == {(name, stream) for name in FAULTS for stream in (_PLAIN, _STREAM)}


@pytest.fixture(scope="module")
def chaos() -> Iterator[Chaos]:
    with chaos_server() as running:
        yield running


@pytest.fixture(scope="module")
def client(chaos: Chaos) -> Iterator[Anthropic]:
    with Anthropic(base_url=chaos.url, api_key="any", max_retries=1) as sdk:
        yield sdk


@pytest.fixture
async def aclient() -> AsyncIterator[tuple[AsyncAnthropic, AsyncChaos]]:
    async with chaos_server() as running, AsyncAnthropic(base_url=running.url, api_key="any", max_retries=1) as sdk:
        yield sdk, running


def _options(case: Case) -> dict[str, Any]:
    # What never answers is given up soon; waits between attempts are cut short by the fault itself where it can.
    timeout = {Phase.FIRST_BYTE: _SILENCE, Phase.STALL: _STALL}.get(case.phase or Phase.GATEWAY, 30.0)
    fault = case.fault
    if fault[0].isdigit() and len(case.ends) > 1 and "retry-after" not in fault:
        fault += ";retry-after-ms=1"
    return {"timeout": timeout, "extra_headers": {"x-chaos": fault}}


def _check(case: Case, raised: BaseException | None, ends: list[End | None], stages: list[Stage]) -> None:
    assert raised is None if case.raised is None else isinstance(raised, case.raised)
    if raised is not None:
        verdict = classify_exception(raised, stages[-1])
        assert (verdict.outcome, verdict.phase) == (case.outcome, case.phase)
    if case.cause is not None:
        assert raised is not None
        assert isinstance(raised.__cause__, case.cause)
    assert ends == list(case.ends)


def _stage(case: Case, *, begun: bool) -> Stage:
    if begun:
        return Stage.STREAMING
    return Stage.READING if case.fault.startswith(("stall", "truncate", "reset;")) else Stage.WAITING


@pytest.mark.parametrize("case", _CASES, ids=_named)
def test_a_fault_yields_through_the_sdk_what_its_users_meet(
    case: Case, chaos: Chaos, client: Anthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropic._base_client.INITIAL_RETRY_DELAY", 0.001)
    chaos.reset()
    raised: BaseException | None = None
    begun = False
    try:
        if case.stream:
            stream = client.messages.create(**_KW, stream=True, **_options(case))
            begun = True
            for _ in stream:
                pass
        else:
            client.messages.create(**_KW, **_options(case))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what is checked
        raised = error
    attempts = chaos.settled(len(case.ends))
    _check(case, raised, [attempt.end for attempt in attempts], [_stage(case, begun=begun)])
    assert {attempt.retry_count for attempt in attempts} == set(range(len(case.ends)))
    assert all(attempt.forced for attempt in attempts)


_ASYNC_CASES = [case for case in _CASES if not case.fault[0].isdigit() or case.fault in {"429;spend", "529"}]


@pytest.mark.parametrize("case", _ASYNC_CASES, ids=_named)
async def test_it_yields_the_same_through_the_async_sdk(
    case: Case, aclient: tuple[AsyncAnthropic, AsyncChaos], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropic._base_client.INITIAL_RETRY_DELAY", 0.001)
    client, chaos = aclient
    raised: BaseException | None = None
    begun = False
    try:
        if case.stream:
            stream = await client.messages.create(**_KW, stream=True, **_options(case))
            begun = True
            async for _ in stream:
                pass
        else:
            await client.messages.create(**_KW, **_options(case))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what is checked
        raised = error
    attempts = await chaos.settled(len(case.ends))
    _check(case, raised, [attempt.end for attempt in attempts], [_stage(case, begun=begun)])


def test_an_error_event_comes_as_a_status_error_with_status_200(client: Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError) as raised:
        list(client.messages.create(**_KW, stream=True, extra_headers={"x-chaos": "error-event"}))
    assert raised.value.status_code == 200


def test_a_clean_end_without_message_stop_is_silent_success(client: Anthropic) -> None:
    stream = client.messages.create(**_KW, stream=True, extra_headers={"x-chaos": "truncate-clean;after=3"})
    kinds = [event.type for event in stream]
    assert kinds == ["message_start", "content_block_start", *["content_block_delta"] * 3]


@pytest.mark.parametrize("after", [0, 1, 3, 9])
def test_after_counts_content_events(client: Anthropic, chaos: Chaos, after: int) -> None:
    chaos.reset()
    stream = client.messages.create(**_KW, stream=True, extra_headers={"x-chaos": f"truncate-clean;after={after}"})
    assert [event.type for event in stream].count("content_block_delta") == after
    assert chaos.settled()[0].events == after


@pytest.mark.parametrize("fault", ["reset;after=3", "truncate;after=3"])
def test_what_was_sent_before_a_cut_or_a_reset_arrives(client: Anthropic, fault: str) -> None:
    got: list[str] = []
    with pytest.raises(httpx2.TransportError):
        got.extend(event.type for event in client.messages.create(**_KW, stream=True, extra_headers={"x-chaos": fault}))
    assert got.count("content_block_delta") == 3


def test_a_fault_later_than_the_last_content_strikes_before_the_message_ends(client: Anthropic) -> None:
    stream = client.messages.create(**_KW, stream=True, extra_headers={"x-chaos": "truncate-clean;after=999"})
    kinds = [event.type for event in stream]
    assert kinds[-1] == "content_block_stop"


def test_an_attempt_of_a_sequence_gets_its_own_fault(client: Anthropic, chaos: Chaos) -> None:
    chaos.reset()
    headers = {"x-chaos": "529;retry-after-ms=1,500;retry-after-ms=1,ok;tokens=4"}
    message = client.with_options(max_retries=4).messages.create(**_KW, extra_headers=headers)
    assert message.usage.output_tokens == 4
    found = [(attempt.fault, attempt.retry_count, attempt.status) for attempt in chaos.settled()]
    assert found == [("529;retry-after-ms=1", 0, 529), ("500;retry-after-ms=1", 1, 500), ("ok;tokens=4", 2, 200)]


def test_retry_after_and_should_retry_are_sent_as_asked(client: Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as raised:
        client.with_options(max_retries=0).messages.create(**_KW, extra_headers={"x-chaos": "429;retry-after=2"})
    headers = raised.value.response.headers
    assert (headers["retry-after"], headers["x-should-retry"]) == ("2", "true")
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_a_recorded_429_says_should_retry_and_no_time(client: Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as raised:
        client.with_options(max_retries=0).messages.create(**_KW, extra_headers={"x-chaos": "429"})
    assert "retry-after" not in raised.value.response.headers
    assert raised.value.response.headers["x-should-retry"] == "true"


def test_a_spent_limit_carries_the_apis_code(client: Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as raised:
        client.messages.create(**_KW, extra_headers={"x-chaos": "429;spend"})
    body: Any = raised.value.body
    assert body["error"]["details"]["error_code"] == "enforced_spend_limit_reached"


def test_a_fault_that_cannot_be_is_a_400_that_names_what_is_allowed(client: Anthropic, chaos: Chaos) -> None:
    chaos.reset()
    with pytest.raises(anthropic.BadRequestError, match="unknown parameter 'befor': allowed are after, s"):
        client.messages.create(**_KW, extra_headers={"x-chaos": "stall;befor=3"})
    (attempt,) = chaos.settled()
    assert (attempt.status, attempt.fault, attempt.forced) == (400, "ok", False)


def test_what_is_refused_anyway_has_no_fault(client: Anthropic, chaos: Chaos) -> None:
    chaos.reset()
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**_KW | {"model": "gpt"}, extra_headers={"x-chaos": "hang"})
    assert chaos.settled()[0].fault == "ok"


@pytest.mark.parametrize("fault", ["529", "hang", "reset", "500"])
def test_faults_strike_every_endpoint(client: Anthropic, chaos: Chaos, fault: str) -> None:
    chaos.reset()
    quick = client.with_options(max_retries=0, timeout=_SILENCE)
    for call in (
        lambda: quick.models.list(extra_headers={"x-chaos": fault}),
        lambda: quick.messages.batches.list(extra_headers={"x-chaos": fault}),
        lambda: quick.messages.count_tokens(
            model="claude-sonnet-5", messages=_KW["messages"], extra_headers={"x-chaos": fault}
        ),
    ):
        with pytest.raises(anthropic.APIError):
            call()
    assert [attempt.fault for attempt in chaos.settled(3)] == [fault] * 3
