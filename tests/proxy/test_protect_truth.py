"""Protection against the fake API, with real clients and sockets: what is answered and recorded is what happened."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import anthropic
import pytest

from sidecar.chaos import Attempt, chaos_server
from sidecar.model import Outcome, Phase, RetryResult, Source
from sidecar.policy import policies
from sidecar.proxy.origin import parse_origin
from sidecar.proxy.protect.settings import Protection
from sidecar.telemetry import Telemetry
from tests.proxy.kit import becomes, request, running
from tests.proxy.memory import Records

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])  # the other loop moves the same bytes

SHORT = 1.5
"""Seconds a limit is set to where it is to strike."""
OK, LATE, LOST = Outcome.OK, Outcome.TIMEOUT, Outcome.CONNECTION_ERROR
RECOVERED, EXHAUSTED = RetryResult.RECOVERED, RetryResult.EXHAUSTED


def protection(**settings: Any) -> Protection:
    timeouts = settings.pop("timeouts", {})
    retry = {"base": 0, "cap": 0, "jitter": "none"}
    return Protection(
        policies=policies({"timeouts": timeouts, "retry": retry, "retry_budget": False, "breaker": False}), **settings
    )


NEWER = {"GatewayTimeoutError": "InternalServerError", "EnforcedSpendLimitReachedError": "RateLimitError"}
"""Errors that the oldest SDK does not know by name, and what they are there."""


@dataclass(frozen=True)
class Case:
    """A fault, what the application sees, and what is to be recorded of it."""

    faults: str
    attempts: tuple[Outcome, ...]
    seen: str = "message"
    phase: Phase | None = None
    result: RetryResult | None = None
    timeouts: tuple[str, ...] = ()


CASES = (
    Case("ok", (OK,)),
    Case("529,ok", (Outcome.OVERLOADED, OK), result=RECOVERED),
    Case("500,429,ok", (Outcome.SERVER_ERROR, Outcome.RATE_LIMITED, OK), result=RECOVERED),
    Case("reset;when=before-headers,ok", (LOST, OK), result=RECOVERED),
    Case("529 x3", (Outcome.OVERLOADED,) * 3, "OverloadedError", result=EXHAUSTED),
    Case("400", (Outcome.CLIENT_ERROR,), "BadRequestError"),
    Case("429;spend", (Outcome.CLIENT_ERROR,), "EnforcedSpendLimitReachedError"),
    Case("hang,hang,hang", (LATE,) * 3, "GatewayTimeoutError", Phase.FIRST_BYTE, EXHAUSTED, ("first_byte",)),
    Case("hang,ok", (LATE, OK), result=RECOVERED, timeouts=("first_byte",)),
    Case("hang", (LATE,), "GatewayTimeoutError", Phase.DEADLINE, timeouts=("total",)),
)
STREAMED = (
    *CASES,
    Case("stall", (LATE,), "RemoteProtocolError", Phase.STALL, timeouts=("stall",)),
    Case("truncate", (Outcome.TRUNCATED,), "RemoteProtocolError"),
    Case("error-event", (Outcome.OVERLOADED,), "APIStatusError"),
)
UPGRADED = (
    *CASES,
    Case("ok;gzip-sse", (OK,)),
    Case("error-event,ok", (Outcome.OVERLOADED, OK), result=RECOVERED),
    Case("error-event;type=invalid_request_error", (Outcome.CLIENT_ERROR,), "BadRequestError"),
    Case("stall", (LATE,), "GatewayTimeoutError", Phase.STALL, timeouts=("stall",)),
    Case("truncate", (Outcome.TRUNCATED,), "InternalServerError"),
    Case("truncate-clean", (Outcome.TRUNCATED,), "InternalServerError"),
    Case("malformed-json", (Outcome.SERVER_ERROR,), "InternalServerError"),
    Case("malformed-sse", (Outcome.SERVER_ERROR,), "InternalServerError"),
)


async def play(case: Case, *, stream: bool, upgrade: bool) -> tuple[str, Records, tuple[Attempt, ...]]:
    telemetry, records = Telemetry(source=Source.PROXY), Records()
    telemetry.add_sink(records)
    settings = protection(timeouts=dict.fromkeys(case.timeouts, SHORT), upgrade=upgrade)
    seen = "message"
    async with chaos_server() as chaos:
        chaos.enqueue(case.faults)  # by order of attempts: the proxy's own do not count themselves
        async with running(parse_origin(chaos.url), telemetry=telemetry, protection=settings) as proxy:
            async with anthropic.AsyncAnthropic(
                base_url=f"http://127.0.0.1:{proxy.port}", api_key="any", max_retries=0
            ) as client:
                try:
                    message = await client.messages.create(
                        model="claude-sonnet-5",
                        max_tokens=20,
                        messages=[{"role": "user", "content": "Hello"}],
                        stream=stream,
                    )
                    if isinstance(message, anthropic.AsyncStream):
                        async for _ in message:
                            pass
                    else:
                        assert message.stop_reason == "max_tokens"
                except Exception as error:  # noqa: BLE001  # its name is what is asked for
                    seen = type(error).__name__
            await becomes(lambda: proxy.proxy.in_flight == 0)
        truth = await chaos.settled()
    assert telemetry.value("sidecar_internal_errors_total") == 0
    assert telemetry.value("sidecar_dropped_records_total") == 0
    return seen, records, truth


def check(case: Case, seen: str, records: Records, truth: tuple[Attempt, ...], *, stream: bool, upgrade: bool) -> None:
    assert seen == (case.seen if hasattr(anthropic, case.seen) else NEWER.get(case.seen, case.seen))
    assert tuple(record.outcome for record in records.attempts) == case.attempts
    assert len(truth) == len(records.attempts)
    for number, (record, real) in enumerate(zip(records.attempts, truth, strict=True)):
        assert (record.endpoint, record.model, record.number) == (real.endpoint, real.model, number)
        assert (record.status, record.stream, real.stream) == (real.status, stream or upgrade, stream or upgrade)
        assert record.request_id == (None if real.status is None else real.request_id)
    (call,) = records.calls
    assert (call.attempts, call.outcome, call.stream) == (len(case.attempts), case.attempts[-1], stream)
    assert (call.retry_result, call.phase, call.source) == (case.result, case.phase, Source.PROXY)
    assert [wait.reason for wait in call.waits] == list(case.attempts[:-1])
    if call.outcome is OK:
        real = truth[-1]
        assert call.usage is not None
        assert (call.usage.input, call.usage.output) == (real.input_tokens, real.output_tokens)
        assert (call.stop_reason, call.first_token is not None) == (real.stop_reason, stream)


@pytest.mark.parametrize(
    ("cases", "stream", "upgrade"),
    [(CASES, False, False), (STREAMED, True, False), (UPGRADED, False, True)],
    ids=["plain", "streamed", "upgraded"],
)
async def test_what_is_answered_and_recorded_is_what_happened(
    cases: tuple[Case, ...], stream: bool, upgrade: bool
) -> None:
    played = await asyncio.gather(*(play(case, stream=stream, upgrade=upgrade) for case in cases))
    wrong = {}
    for case, (seen, records, truth) in zip(cases, played, strict=True):
        try:
            check(case, seen, records, truth, stream=stream, upgrade=upgrade)
        except AssertionError as error:
            wrong[case.faults] = str(error)
    assert not wrong, wrong


# --- an upgraded answer is the one the API gives without a stream

TOOL = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
    },
}
HELLO: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 40,
    "messages": [{"role": "user", "content": 'Grüße, "stream": false?'}],
}
BODIES: dict[str, dict[str, Any]] = {
    "text": HELLO,
    "a stream that is refused": {**HELLO, "stream": False},
    "thinking": {**HELLO, "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    "a tool": {**HELLO, "tools": [TOOL], "tool_choice": {"type": "tool", "name": "weather"}},
    "a schema": {**HELLO, "output_config": {"format": {"type": "json_schema", "schema": TOOL["input_schema"]}}},
    "cached": {**HELLO, "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
    "stopped": {**HELLO, "stop_sequences": ["."]},
    "an unknown model": {**HELLO, "model": "claude-nobody"},
    "no model": {"messages": []},
}
FAULTS = {"stopped": "ok;stop=stop_sequence;input-tokens=30"}


Answered = tuple[bytes, dict[bytes, bytes], bytes]


async def answered(body: dict[str, Any], fault: str, settings: Protection | None) -> Answered:
    """Ask a fresh server, which always makes the same ids."""
    async with (
        chaos_server() as chaos,
        running(parse_origin(chaos.url), protection=settings, telemetry=Telemetry()) as proxy,
        await proxy.client() as client,
    ):
        headers = (b"x-api-key: any", b"anthropic-version: 2023-06-01", b"x-chaos: " + fault.encode())
        await client.send(request(json.dumps(body).encode(), *headers))
        return await client.message()


@pytest.mark.parametrize("keep_alive", [None, 60.0])
async def test_an_upgraded_answer_is_the_one_without_a_stream(keep_alive: float | None) -> None:
    settings = protection(upgrade=True, keep_alive_seconds=keep_alive)
    for name, body in BODIES.items():
        fault = FAULTS.get(name, "ok;input-tokens=30")
        plain = await answered(body, fault, None)
        upgraded = await answered(body, fault, settings)
        assert upgraded[0] == plain[0], name
        assert upgraded[1].keys() - {b"vary"} == plain[1].keys() - {b"vary"}, name
        assert upgraded[1][b"request-id"] == plain[1][b"request-id"]
        one, other = json.loads(upgraded[2]), json.loads(plain[2])
        assert json.dumps(one) == json.dumps(other), name  # the order of keys too


async def test_a_large_upgraded_answer_comes_whole() -> None:
    settings = protection(upgrade=True)
    _, headers, body = await answered(HELLO, "huge;mb=2;input-tokens=30", settings)
    assert len(json.loads(body)["content"][0]["text"]) == 2_000_000
    assert int(headers[b"content-length"]) == len(body)


async def test_an_answer_longer_than_it_may_be_is_a_502() -> None:
    settings = protection(upgrade=True, upgrade_bytes=100_000)
    start, headers, _ = await answered(HELLO, "huge;mb=2", settings)
    assert (start, headers[b"x-sidecar-error"]) == (b"HTTP/1.1 502 Bad Gateway", b"stream_unreadable")


async def test_white_space_reaches_the_client_while_the_upstream_is_slow() -> None:
    settings = protection(upgrade=True, keep_alive_seconds=0.1)
    start, head, body = await answered(HELLO, "stall;s=1", settings)
    assert (start, head[b"content-type"]) == (b"HTTP/1.1 200 OK", b"application/json")
    assert body.startswith(b" ")
    assert json.loads(body)["type"] == "message"


async def test_the_sdks_retries_are_left_to_the_proxy_and_add_up_to_one_call_where_they_are_not() -> None:
    for clients_retry, requests in ((False, 1), (True, 2)):
        telemetry, records = Telemetry(source=Source.PROXY), Records()
        telemetry.add_sink(records)
        async with chaos_server() as chaos:
            chaos.enqueue("529;retry-after-ms=1 x6")
            async with (
                running(
                    parse_origin(chaos.url), telemetry=telemetry, protection=protection(clients_retry=clients_retry)
                ) as proxy,
                anthropic.AsyncAnthropic(
                    base_url=f"http://127.0.0.1:{proxy.port}", api_key="any", max_retries=1
                ) as client,
            ):
                with pytest.raises(anthropic.APIStatusError):
                    await client.messages.create(**HELLO)
            truth = await chaos.settled()
        assert [attempt.retry_count for attempt in truth] == [0, 0, 0, 1, 1, 1][: 3 * requests]
        assert [record.number for record in records.attempts] == list(range(3 * requests))
        (call,) = records.calls
        assert (call.attempts, call.retry_result, len(call.waits)) == (3 * requests, EXHAUSTED, 3 * requests - 1)
        assert telemetry.value("claude_retried_calls_total", result="exhausted") == 1
        assert telemetry.value("claude_retries_total") == 3 * requests - 1
