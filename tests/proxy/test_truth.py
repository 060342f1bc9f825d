"""The official SDK through the proxy against the fake API: what is recorded is what really happened."""

import asyncio
from dataclasses import dataclass

import anthropic
import pytest

from sidecar.chaos import Attempt, chaos_server
from sidecar.model import AttemptRecord, CallRecord, Outcome, Phase, RetryResult, Source
from sidecar.proxy import hangup
from sidecar.proxy.origin import parse_origin
from sidecar.telemetry import Telemetry
from tests.proxy.kit import becomes, running
from tests.proxy.memory import Records


@dataclass(frozen=True)
class Case:
    """A fault, and what is to be recorded of it."""

    fault: str
    attempts: tuple[Outcome, ...]
    phase: Phase | None = None
    result: RetryResult | None = None
    retries: int = 1
    timeout: float = 60.0
    """The SDK's own. Where it is to strike, it is as short as what comes before it allows."""


OK, LATE, LOST = Outcome.OK, Outcome.TIMEOUT, Outcome.CONNECTION_ERROR
RECOVERED, EXHAUSTED = RetryResult.RECOVERED, RetryResult.EXHAUSTED

BOTH = (
    Case("ok", (OK,)),
    Case("drip;s=0", (OK,)),
    Case("529;retry-after-ms=1 x1", (Outcome.OVERLOADED, OK), result=RECOVERED),
    Case("429;retry-after-ms=1 x1", (Outcome.RATE_LIMITED, OK), result=RECOVERED),
    Case("500;retry-after-ms=1 x2", (Outcome.SERVER_ERROR,) * 2 + (OK,), result=RECOVERED, retries=2),
    Case("503;retry-after-ms=1", (Outcome.SERVER_ERROR,) * 3, result=EXHAUSTED, retries=2),
    Case("504;retry-after-ms=1", (LATE,) * 2, Phase.GATEWAY, EXHAUSTED),
    Case("400", (Outcome.CLIENT_ERROR,)),
    Case("401", (Outcome.CLIENT_ERROR,)),
    Case("429;spend", (Outcome.CLIENT_ERROR,)),
    Case("hang", (LATE,), Phase.CLIENT, retries=0, timeout=2.0),
    Case("reset;when=before-headers", (LOST,), retries=0),
)
PLAIN = (
    *BOTH,
    Case("truncate", (LOST, LOST), result=EXHAUSTED),
    Case("stall", (LATE,), Phase.CLIENT, retries=0, timeout=2.0),
    Case("truncate-clean", (Outcome.SERVER_ERROR,)),
    Case("malformed-json", (Outcome.SERVER_ERROR,)),
)
STREAMED = (
    *BOTH,
    Case("truncate", (Outcome.TRUNCATED,)),
    Case("reset;when=after-headers;after=2", (Outcome.TRUNCATED,)),
    Case("truncate-clean", (Outcome.TRUNCATED,)),
    Case("stall", (LATE,), Phase.CLIENT, timeout=2.0),
    Case("error-event", (Outcome.OVERLOADED,)),
    Case("error-event;type=api_error", (Outcome.SERVER_ERROR,)),
    Case("ok;gzip-sse=true", (OK,)),
)


async def play(case: Case, *, stream: bool) -> tuple[Records, tuple[Attempt, ...]]:
    telemetry, records = Telemetry(source=Source.PROXY), Records()
    telemetry.add_sink(records)
    async with chaos_server() as chaos:
        async with running(parse_origin(chaos.url), telemetry=telemetry) as proxy:
            async with anthropic.AsyncAnthropic(
                base_url=f"http://127.0.0.1:{proxy.port}", api_key="any", timeout=case.timeout, max_retries=case.retries
            ) as client:
                try:
                    message = await client.messages.create(
                        model="claude-sonnet-5",
                        max_tokens=20,
                        messages=[{"role": "user", "content": "Hello"}],
                        stream=stream,
                        extra_headers={"x-chaos": case.fault},
                    )
                    if isinstance(message, anthropic.AsyncStream):
                        async for _ in message:
                            pass
                except Exception:  # noqa: BLE001, S110  # what the SDK raises is its own affair
                    pass
            await becomes(lambda: proxy.proxy.in_flight == 0)
        truth = await chaos.settled()
    assert telemetry.value("sidecar_internal_errors_total") == 0
    assert telemetry.value("sidecar_dropped_records_total") == 0
    return records, truth


def check(case: Case, records: Records, truth: tuple[Attempt, ...], *, stream: bool) -> None:
    assert tuple(record.outcome for record in records.attempts) == case.attempts
    assert len(truth) == len(records.attempts)
    for record, real in zip(records.attempts, truth, strict=True):
        check_attempt(record, real, stream=stream)
    (call,) = records.calls
    assert (call.attempts, call.outcome) == (len(case.attempts), case.attempts[-1])
    assert (call.retry_result, call.phase, call.source) == (case.result, case.phase, Source.PROXY)
    assert [wait.reason for wait in call.waits] == list(case.attempts[:-1])
    if call.outcome is OK:
        check_answer(call, truth[-1], stream=stream)


def check_attempt(record: AttemptRecord, real: Attempt, *, stream: bool) -> None:
    assert (record.endpoint, record.model, record.stream) == (real.endpoint, real.model, stream)
    assert (record.status, record.number) == (real.status, real.retry_count)
    assert (record.first_token is not None) == (stream and real.first_delta_at is not None)
    assert record.request_id == (None if real.status is None else real.request_id)
    assert bool(record.limits) or record.number or real.status is None  # those of a retry are read later


def check_answer(call: CallRecord, real: Attempt, *, stream: bool) -> None:
    assert call.usage is not None
    assert (call.usage.input, call.usage.output) == (real.input_tokens, real.output_tokens)
    assert call.stop_reason == real.stop_reason
    assert (call.first_token is not None) == stream


@pytest.fixture(autouse=True)
def _however_late_a_busy_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a client's timeout for one even where it fires late; how exact it must be is tested by a clock elsewhere."""
    monkeypatch.setattr(hangup, "_LATE", 60.0)


@pytest.mark.asyncio(loop_factories=["uvloop"])  # the other loop moves the same bytes
@pytest.mark.parametrize(("cases", "stream"), [(PLAIN, False), (STREAMED, True)], ids=["plain", "streamed"])
async def test_what_is_recorded_is_what_happened(cases: tuple[Case, ...], stream: bool) -> None:
    played = await asyncio.gather(*(play(case, stream=stream) for case in cases))
    wrong = {}
    for case, (records, truth) in zip(cases, played, strict=True):
        try:
            check(case, records, truth, stream=stream)
        except AssertionError as error:
            wrong[case.fault] = str(error)
    assert not wrong, wrong
