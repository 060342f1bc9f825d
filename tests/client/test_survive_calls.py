"""Calls under a policy: what is tried again, what is refused, what time does; and the records that tell of it."""

import asyncio
import gc
import threading
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.chaos import Chaos
from sidecar.model import Outcome, Phase, RetryResult
from sidecar.policy import BudgetConfig, Policy, Retry
from tests.client.survive import KINDS, QUICK, Kind, Waits, policy, touchy, waiting, with_time

pytestmark = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def faulty(ask: dict[str, Any], spec: str) -> dict[str, Any]:
    return {**ask, "extra_headers": {"x-chaos": spec}}


@pytest.mark.parametrize(
    ("spec", "sent", "outcome", "result"),
    [
        ("ok", [0], Outcome.OK, None),
        ("529 x1", [0, 1], Outcome.OK, RetryResult.RECOVERED),
        ("500,429,ok", [0, 1, 2], Outcome.OK, RetryResult.RECOVERED),
        ("529", [0, 1, 2], Outcome.OVERLOADED, RetryResult.EXHAUSTED),
        ("reset", [0, 1, 2], Outcome.CONNECTION_ERROR, RetryResult.EXHAUSTED),
        ("400", [0], Outcome.CLIENT_ERROR, None),
        ("429;spend", [0], Outcome.CLIENT_ERROR, None),
        ("malformed-json", [0], Outcome.SERVER_ERROR, None),
        ("529;should-retry=false", [0], Outcome.OVERLOADED, None),
    ],
)
def test_a_call_is_tried_again_as_its_policy_says(
    kind: Kind,
    seen: Any,
    chaos: Chaos,
    ask: Any,
    spec: str,
    sent: list[int],
    outcome: Outcome,
    result: RetryResult | None,
) -> None:
    """The SDK itself is told not to retry; each attempt tells its number, as the SDK's own do."""
    client = kind.client(seen, chaos.url, policy=policy(), max_retries=0)
    if outcome is Outcome.OK:
        assert kind.create(client, faulty(ask, spec)).stop_reason == "end_turn"
    else:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is the SDK's matter
            kind.create(client, faulty(ask, spec))
        assert type(caught.value).__module__.partition(".")[0] in {"anthropic", "json"}
    truth = seen.agree(chaos, calls=1)
    assert [each.retry_count for each in truth] == sent
    assert (seen.one.outcome, seen.one.retry_result) == (outcome, result)
    assert len(seen.one.waits) == len(sent) - 1
    retries = seen.telemetry.value("claude_retries_total")
    assert retries == len(sent) - 1
    assert seen.telemetry.value("claude_retried_calls_total") == (result is not None)


def test_streams_are_tried_again_until_their_answer_begins(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    client = kind.client(seen, chaos.url, policy=policy())
    assert kind.read(client, faulty(ask, "529,500,ok"))[-1].type == "message_stop"
    seen.agree(chaos, calls=1)
    assert (seen.one.attempts, seen.one.retry_result, seen.one.stream) == (3, RetryResult.RECOVERED, True)


@pytest.mark.parametrize(("spec", "waited"), [("529;retry-after-ms=1500 x1", 1.5), ("529;retry-after=7 x1", 7.0)])
def test_a_wait_is_what_the_server_asked_for(
    kind: Kind, seen: Any, chaos: Chaos, ask: Any, spec: str, waited: float
) -> None:
    waits = Waits()
    kind.create(waiting(kind.client(seen, chaos.url, policy=policy()), waits), faulty(ask, spec))
    assert waits.seconds == [waited]


def test_a_longer_wait_than_the_policy_bears_is_cut(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    waits = Waits()
    short = policy(retry=Retry(retry_after_cap=2.0))
    kind.create(waiting(kind.client(seen, chaos.url, policy=short), waits), faulty(ask, "529;retry-after=90 x1"))
    assert waits.seconds == [2.0]


def test_giving_up_during_a_wait_is_a_cancelled_call(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    def leave() -> None:
        raise KeyboardInterrupt

    client = waiting(kind.client(seen, chaos.url, policy=policy(breaker=touchy(consecutive=9))), Waits(leave))
    with pytest.raises(KeyboardInterrupt):
        kind.create(client, faulty(ask, "529,529,ok"))
    seen.agree(chaos, calls=1)
    assert (seen.one.outcome, seen.one.attempts) == (Outcome.CANCELLED, 1)
    assert [wait.completed for wait in seen.one.waits] == [False]


@pytest.mark.parametrize(
    ("timeouts", "spec", "stream", "phase", "error"),
    [
        ({"first_byte": 0.2}, "hang", True, Phase.FIRST_BYTE, anthropic.APITimeoutError),
        ({"total": 0.2}, "hang", True, Phase.DEADLINE, sidecar.DeadlineExceeded),
        ({"total": 0.2}, "hang", False, Phase.DEADLINE, sidecar.DeadlineExceeded),
        ({"stall": 0.2}, "stall", True, Phase.STALL, sidecar.StreamInterrupted),
        ({"total": 0.4}, "stall", True, Phase.DEADLINE, sidecar.StreamInterrupted),
        ({"total": 0.4}, "drip;bytes=8;s=0.02;tokens=4000", True, Phase.DEADLINE, sidecar.DeadlineExceeded),
        ({"total": 0.4}, "drip;bytes=8;s=0.02;tokens=4000", False, Phase.DEADLINE, sidecar.DeadlineExceeded),
        ({"stall": 0.2}, "stall", False, Phase.STALL, anthropic.APITimeoutError),
    ],
)
def test_each_limit_is_kept_and_named(
    kind: Kind, seen: Any, chaos: Chaos, ask: Any, timeouts: Any, spec: str, stream: bool, phase: Phase, error: Any
) -> None:
    client = kind.client(seen, chaos.url, policy=policy(timeouts=timeouts, retry=Retry(max_attempts=1)))
    with pytest.raises(error) as caught:
        (kind.read if stream else kind.create)(client, faulty(ask, spec))
    assert isinstance(caught.value, anthropic.APITimeoutError)
    seen.agree(chaos, calls=1)
    assert (seen.one.outcome, seen.one.phase) == (Outcome.TIMEOUT, phase)
    assert [(each.outcome, each.phase) for each in seen.attempts] == [(Outcome.TIMEOUT, phase)]
    assert seen.telemetry.value("claude_timeouts_total", phase=phase) == 1
    assert seen.one.duration < 10.0  # far below what the other limits would have allowed


def test_the_headers_and_the_body_have_limits_of_their_own(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    """A first byte that takes longer than a stall may is no stall, and a silence longer than that is none either."""
    slow_start = policy(timeouts={"first_byte": 20.0, "stall": 0.3})
    assert kind.read(kind.client(seen, chaos.url, policy=slow_start), faulty(ask, "slow-headers;s=0.6"))
    slow_body = policy(timeouts={"first_byte": 0.5, "stall": 20.0})
    assert kind.read(kind.client(seen, chaos.url, policy=slow_body), faulty(ask, "stall;after=1;s=1;latency=0"))
    assert [call.outcome for call in seen.calls] == [Outcome.OK, Outcome.OK]


def test_a_wait_that_leaves_no_time_is_not_begun(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    waits = Waits()
    client = waiting(kind.client(seen, chaos.url, policy=policy(timeouts={"total": 20.0})), waits)
    with pytest.raises(anthropic.APIStatusError):
        kind.create(client, faulty(ask, "529;retry-after=30"))
    assert waits.seconds == []
    seen.agree(chaos, calls=1)
    assert (seen.one.outcome, seen.one.phase, seen.one.attempts) == (Outcome.OVERLOADED, Phase.DEADLINE, 1)
    assert [(wait.seconds, wait.completed) for wait in seen.one.waits] == [(0.0, False)]
    assert seen.telemetry.value("claude_timeouts_total", phase="deadline") == 1


def test_a_wait_that_lasts_too_long_is_the_end(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    now = [0.0]

    def oversleep() -> None:
        now[0] += 100.0

    limited = policy(timeouts={"total": 20.0}, retry=Retry(base=1.0, jitter="none"))
    client = waiting(kind.client(seen, chaos.url, policy=limited), Waits(oversleep), clock=lambda: now[0])
    with pytest.raises(anthropic.APIStatusError):
        kind.create(client, faulty(ask, "529"))
    seen.agree(chaos, calls=1)
    assert (seen.one.outcome, seen.one.phase, seen.one.attempts) == (Outcome.OVERLOADED, Phase.DEADLINE, 1)
    assert [wait.completed for wait in seen.one.waits] == [False]


def test_a_spent_deadline_refuses_before_anything_is_sent(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    client = kind.client(seen, chaos.url, policy=policy())
    with sidecar.deadline(0.5, floor=1.0), pytest.raises(sidecar.DeadlineExceeded) as caught:
        kind.create(client, ask)
    assert isinstance(caught.value, anthropic.APITimeoutError)
    assert str(caught.value.request.url) == f"{chaos.url}/v1/messages"
    assert not seen.agree(chaos, calls=1)
    assert (seen.one.outcome, seen.one.phase, seen.one.attempts) == (Outcome.REJECTED, Phase.DEADLINE, 0)
    assert seen.one.error_type == "DeadlineExceeded"


def test_a_chains_deadline_limits_its_calls(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    client = kind.client(seen, chaos.url, policy=policy())
    with sidecar.deadline(0.6, share=0.5, floor=0.01), pytest.raises(sidecar.DeadlineExceeded):
        kind.create(client, faulty(ask, "hang"))
    seen.agree(chaos, calls=1)
    assert (seen.one.outcome, seen.one.phase, seen.one.attempts) == (Outcome.TIMEOUT, Phase.DEADLINE, 1)


def test_without_a_policy_a_deadline_refuses_nothing(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    with sidecar.deadline(0.0):
        kind.create(kind.client(seen, chaos.url), ask)
    assert seen.one.outcome is Outcome.OK


def test_an_open_breaker_refuses_before_anything_is_sent(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    """And the SDK, for which a connection error is reason enough to try again, does not."""
    once = policy(breaker=touchy(), retry=Retry(max_attempts=1))
    client = kind.client(seen, chaos.url, policy=once, max_retries=5)
    with pytest.raises(anthropic.APIStatusError):
        kind.create(client, faulty(ask, "529"))
    with pytest.raises(sidecar.BreakerOpen) as caught:
        kind.create(kind.client(seen, chaos.url, policy=once, max_retries=5), ask)  # another client, the same upstream
    assert isinstance(caught.value, anthropic.APIConnectionError)
    assert caught.value.name == f"127.0.0.1/{ask['model']}"
    assert len(seen.agree(chaos, calls=2)) == 1
    refused = seen.calls[1]
    assert (refused.outcome, refused.attempts, refused.error_type) == (Outcome.REJECTED, 0, "BreakerOpen")
    assert (refused.host, refused.model, refused.retry_result) == ("127.0.0.1", ask["model"], None)
    assert seen.telemetry.value("claude_breaker_rejections_total") == 1
    assert seen.telemetry.value("claude_breaker_transitions_total") == 1
    assert seen.telemetry.value("claude_breaker_state", state="open") == 1
    assert seen.telemetry.value("claude_breaker_state", state="closed") == 0


def test_a_breaker_that_opens_ends_the_retries(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    client = kind.client(seen, chaos.url, policy=policy(breaker=touchy()))
    with pytest.raises(anthropic.APIStatusError):
        kind.create(client, faulty(ask, "529"))
    assert len(seen.agree(chaos, calls=1)) == 1
    assert (seen.one.outcome, seen.one.waits) == (Outcome.OVERLOADED, ())


def test_a_breaker_that_opens_during_a_wait_ends_the_call(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    careful = policy(breaker=touchy(consecutive=2), retry=Retry(base=1.0))

    def others_fail() -> None:
        with pytest.raises(anthropic.APIStatusError):
            one_more.messages.create(**faulty(ask, "529"))

    client = waiting(kind.client(seen, chaos.url, policy=careful), Waits(others_fail))
    shared = client.__dict__["_sidecar"]
    one_more = sidecar.Anthropic(base_url=chaos.url, api_key="k", telemetry=seen, policy=careful)
    one_more.__dict__["_sidecar"] = shared
    with one_more.with_options(max_retries=0) as one_more, pytest.raises(anthropic.APIStatusError):
        kind.create(client, faulty(ask, "529,ok"))
    waited = next(call for call in seen.calls if call.waits)
    assert (waited.outcome, waited.attempts, waited.retry_result) == (Outcome.OVERLOADED, 1, None)
    assert [wait.completed for wait in waited.waits] == [False]
    assert seen.telemetry.value("claude_breaker_rejections_total") == 1


def test_a_spent_budget_ends_the_retries(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    stingy = policy(
        retry_budget=BudgetConfig(ratio=0.5, min_per_second=0.1, ttl=10), retry=Retry(max_attempts=9, base=0)
    )
    with pytest.raises(anthropic.APIStatusError):
        kind.create(kind.client(seen, chaos.url, policy=stingy), faulty(ask, "529"))
    assert len(seen.agree(chaos, calls=1)) == 2
    assert (seen.one.outcome, seen.one.retry_result) == (Outcome.OVERLOADED, RetryResult.ABANDONED)
    assert seen.telemetry.value("claude_retried_calls_total", result="abandoned") == 1
    assert 0.3 < seen.telemetry.value("claude_retry_budget_ratio", scope="default") < 0.4


LEAVING = {"closed": lambda stream: stream.close(), "dropped": lambda _: None}


@pytest.mark.parametrize("leave", ["closed", "dropped"])
def test_a_stream_that_is_left_gives_its_permit_back(kind: Kind, seen: Any, chaos: Chaos, ask: Any, leave: str) -> None:
    """The only probe of a half-open breaker is given back when its stream is left, however that happens."""
    now = [0.0]
    probing = policy(breaker=touchy(open_for=10.0, probes=1, probe_wait=500.0), retry=Retry(max_attempts=1))

    def client() -> Any:
        made = kind.client(seen, chaos.url, policy=probing)
        made.__dict__["_sidecar"] = observer or made.__dict__["_sidecar"]
        return made

    observer: Any = None
    first = with_time(client(), clock=lambda: now[0])
    observer = first.__dict__["_sidecar"]
    with pytest.raises(anthropic.APIStatusError):
        kind.create(first, faulty(ask, "529"))
    now[0] = 11.0
    kind.first_then(client(), faulty(ask, "stall;after=2;s=30"), LEAVING[leave])
    gc.collect()
    assert [call.outcome for call in seen.calls] == [Outcome.OVERLOADED, Outcome.CANCELLED]
    kind.create(client(), ask)  # would be refused if the probe were still out
    assert seen.calls[2].outcome is Outcome.OK
    assert seen.telemetry.value("claude_breaker_state", state="closed") == 1
    assert seen.telemetry.value("claude_breaker_failure_ratio") == 0


def test_what_is_in_force_is_told(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    kind.create(kind.client(seen, chaos.url, policy="interactive"), ask)
    in_force = {
        labels["phase"]: value
        for labels, value in seen.telemetry.values("claude_timeout_setting_seconds", profile="interactive")
    }
    assert in_force == {
        "pool": 2.0,
        "connect": 3.0,
        "write": 10.0,
        "first_byte": 30.0,
        "stall": 20.0,
        "deadline": 75.0,
    }
    assert seen.one.profile == "interactive"
    assert seen.telemetry.value("claude_breaker_state", state="closed") == 1
    assert seen.telemetry.value("claude_retry_budget_ratio", scope="interactive") == 1


def test_each_call_goes_by_its_own_profile(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    client = kind.client(seen, chaos.url, policy="interactive")
    with sidecar.profile("realtime"):
        kind.create(client, ask)
    told = {labels["profile"] for labels, _ in seen.telemetry.values("claude_timeout_setting_seconds")}
    assert told == {"realtime"}


def test_the_timeout_that_is_announced_is_the_one_in_force(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    announced = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        announced.append(request.headers["x-stainless-read-timeout"])
        return httpx2.Response(529)

    transport = httpx2.MockTransport(answer)
    http = httpx2.Client(transport=transport) if kind.name == "sync" else httpx2.AsyncClient(transport=transport)
    limited = policy(timeouts={"first_byte": 12.0}, retry=Retry(max_attempts=2, base=0))
    with pytest.raises(anthropic.APIStatusError):
        kind.read(kind.client(seen, "http://test", policy=limited, http_client=http), ask)
    assert announced == ["12.0", "12.0"]


def test_threads_share_what_is_shared_and_nothing_else(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    def work() -> None:
        for spec in ("ok", "529 x1"):
            kind.create(kind.client(seen, chaos.url, policy=policy(breaker=touchy(consecutive=90))), faulty(ask, spec))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen.agree(chaos, calls=8)
    assert sorted(call.attempts for call in seen.calls) == [1] * 4 + [2] * 4


def test_nothing_of_a_call_is_left_to_the_garbage_collector(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    from sidecar.client.survival import Survival

    client = kind.client(seen, chaos.url, policy=policy(breaker=touchy()))
    gc.collect()
    gc.disable()
    try:
        if kind.name == "sync":
            with client:
                client.messages.create(**ask)
                list(client.messages.create(**ask, stream=True))
                left = [each for each in gc.get_objects() if isinstance(each, Survival)]
        else:
            left = asyncio.run(_made_async(client, ask, Survival))
    finally:
        gc.enable()
    assert left == []


async def _made_async(client: Any, ask: Any, what: type) -> list[Any]:
    async with client:
        await client.messages.create(**ask)
        async for _ in await client.messages.create(**ask, stream=True):
            pass
        for _ in range(9):
            await asyncio.sleep(0)  # the loop ends what the SDK's generators have begun
        return [each for each in gc.get_objects() if isinstance(each, what)]


def test_the_policys_word_counts_not_the_clients_defaults(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    client = kind.client(seen, chaos.url, policy=Policy(retry=QUICK), max_retries=9, timeout=0.001)
    with pytest.raises(anthropic.APIStatusError):
        kind.create(client, faulty(ask, "529"))
    assert len(seen.agree(chaos, calls=1)) == 3
