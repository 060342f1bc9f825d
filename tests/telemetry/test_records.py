"""What each record does to each family."""

import pytest

from sidecar.model import LimitKind, Outcome, Phase, Profile, RateLimit, RetryResult, Source, TraceRef, Usage, Wait
from sidecar.telemetry import Telemetry
from sidecar.telemetry.families import FAMILIES, Kind
from tests.telemetry.records import attempt, call

LABELS = {"endpoint": "messages", "model": "claude-sonnet-4-5", "source": "client"}
TRACE = TraceRef(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def counts(telemetry: Telemetry, family: str) -> dict[str, float]:
    """Give the series of a family that are not 0, by the values of their labels."""
    return {" ".join(labels.values()): value for labels, value in telemetry.values(family) if value}


def test_an_attempt_is_counted_by_outcome_and_status(telemetry: Telemetry) -> None:
    telemetry.attempt(attempt())
    telemetry.attempt(attempt(outcome=Outcome.OVERLOADED, status=529))
    telemetry.attempt(attempt(outcome=Outcome.CONNECTION_ERROR, status=None))
    assert counts(telemetry, "claude_attempts_total") == {
        "messages claude-sonnet-4-5 interactive ok 200 client": 1,
        "messages claude-sonnet-4-5 interactive overloaded 529 client": 1,
        "messages claude-sonnet-4-5 interactive connection_error none client": 1,
    }


def test_an_attempt_leaves_its_duration_and_its_longest_silence(telemetry: Telemetry) -> None:
    telemetry.attempt(attempt(duration=3.2, max_gap=0.7))
    telemetry.attempt(attempt(duration=1.0, max_gap=None))
    durations = telemetry.histogram("claude_attempt_duration_seconds", outcome="ok", profile="interactive", **LABELS)
    assert (durations.total, durations.sum) == (2, 4.2)
    gaps = telemetry.histogram("claude_stream_max_gap_seconds", **LABELS)
    assert (gaps.total, gaps.sum) == (1, 0.7)


@pytest.mark.parametrize("phase", Phase)
def test_an_attempt_that_timed_out_is_counted_by_phase(telemetry: Telemetry, phase: Phase) -> None:
    telemetry.attempt(attempt(outcome=Outcome.TIMEOUT, phase=phase, status=None))
    assert counts(telemetry, "claude_timeouts_total") == {
        f"messages claude-sonnet-4-5 interactive {phase.value} client": 1
    }


def test_a_call_is_counted_and_timed(telemetry: Telemetry) -> None:
    telemetry.call(call(profile=Profile.AGENTIC, stream=False, source=Source.PROXY))
    assert counts(telemetry, "claude_calls_total") == {"messages claude-sonnet-4-5 agentic false ok proxy": 1}
    durations = telemetry.histogram("claude_call_duration_seconds", stream="false", outcome="ok", source="proxy")
    assert (durations.total, durations.sum) == (1, 3.2)
    first = telemetry.histogram("claude_first_token_seconds", profile="agentic", source="proxy")
    assert (first.total, first.sum) == (1, 0.5)


def test_a_call_without_a_first_token_leaves_none(telemetry: Telemetry) -> None:
    telemetry.call(call(first_token=None))
    assert telemetry.histogram("claude_first_token_seconds").total == 0


def test_a_calls_tokens_are_counted_by_kind(telemetry: Telemetry) -> None:
    telemetry.call(call(usage=Usage(input=10, output=400, cache_read=30, cache_write=40), output_seconds=2.0))
    assert counts(telemetry, "claude_tokens_total") == {
        "claude-sonnet-4-5 input client": 10,
        "claude-sonnet-4-5 output client": 400,
        "claude-sonnet-4-5 cache_read client": 30,
        "claude-sonnet-4-5 cache_write client": 40,
    }
    assert telemetry.histogram("claude_prompt_tokens", **LABELS).sum == 80
    assert telemetry.histogram("claude_output_tokens_per_second", model="claude-sonnet-4-5").sum == 200


@pytest.mark.parametrize("changes", [{"usage": Usage(input=1)}, {"output_seconds": None}, {"output_seconds": 0.0}])
def test_where_no_token_came_or_no_time_passed_there_is_no_rate(
    telemetry: Telemetry, changes: dict[str, object]
) -> None:
    telemetry.call(call(**changes))
    assert telemetry.value("claude_calls_total") == 1
    assert telemetry.histogram("claude_output_tokens_per_second").total == 0


def test_why_an_answer_stopped_is_counted(telemetry: Telemetry) -> None:
    for reason in ("end_turn", "end_turn", "max_tokens", None):
        telemetry.call(call(stop_reason=reason))
    assert counts(telemetry, "claude_stops_total") == {
        "claude-sonnet-4-5 end_turn client": 2,
        "claude-sonnet-4-5 max_tokens client": 1,
    }


def test_retries_are_counted_by_what_led_to_them(telemetry: Telemetry) -> None:
    waits = (
        Wait(reason=Outcome.OVERLOADED, at=1.0, seconds=0.5),
        Wait(reason=Outcome.TIMEOUT, at=62.0, seconds=1.5),
    )
    telemetry.call(call(attempts=3, waits=waits, retry_result=RetryResult.RECOVERED))
    assert counts(telemetry, "claude_retries_total") == {
        "messages claude-sonnet-4-5 overloaded client": 1,
        "messages claude-sonnet-4-5 timeout client": 1,
    }
    assert counts(telemetry, "claude_retried_calls_total") == {"messages claude-sonnet-4-5 recovered client": 1}
    assert telemetry.histogram("claude_retry_wait_seconds").sum == 2.0
    assert telemetry.histogram("claude_retry_wait_seconds", reason="timeout").sum == 1.5


def test_a_wait_that_led_to_no_attempt_is_no_retry(telemetry: Telemetry) -> None:
    waits = (Wait(reason=Outcome.OVERLOADED, at=1.0, seconds=0.5, completed=False),)
    telemetry.call(
        call(outcome=Outcome.OVERLOADED, waits=waits, retry_result=RetryResult.ABANDONED, phase=Phase.DEADLINE)
    )
    assert counts(telemetry, "claude_retries_total") == {}
    assert counts(telemetry, "claude_retried_calls_total") == {"messages claude-sonnet-4-5 abandoned client": 1}
    assert telemetry.histogram("claude_retry_wait_seconds").total == 1


def test_a_wait_that_was_forbidden_is_no_wait(telemetry: Telemetry) -> None:
    waits = (Wait(reason=Outcome.OVERLOADED, at=1.0, seconds=0.0, completed=False),)
    telemetry.call(call(outcome=Outcome.OVERLOADED, waits=waits, retry_result=RetryResult.ABANDONED))
    assert telemetry.histogram("claude_retry_wait_seconds").total == 0


def test_a_deadline_that_ended_a_wait_is_a_timeout(telemetry: Telemetry) -> None:
    waits = (Wait(reason=Outcome.OVERLOADED, at=1.0, seconds=0.5, completed=False),)
    telemetry.call(call(outcome=Outcome.OVERLOADED, waits=waits, phase=Phase.DEADLINE))
    assert counts(telemetry, "claude_timeouts_total") == {"messages claude-sonnet-4-5 interactive deadline client": 1}


def test_a_deadline_that_ended_an_attempt_is_counted_once(telemetry: Telemetry) -> None:
    waits = (Wait(reason=Outcome.OVERLOADED, at=1.0, seconds=0.5),)
    telemetry.attempt(attempt(outcome=Outcome.TIMEOUT, phase=Phase.DEADLINE, status=None))
    telemetry.call(call(outcome=Outcome.TIMEOUT, waits=waits, phase=Phase.DEADLINE))
    assert telemetry.value("claude_timeouts_total") == 1


def test_the_newest_rate_limits_are_shown(telemetry: Telemetry) -> None:
    limit = RateLimit(kind=LimitKind.INPUT_TOKENS, limit=1000, remaining=400, reset_at=1_790_000_060.0)
    telemetry.attempt(attempt(limits=(limit,)))
    telemetry.attempt(attempt(limits=(RateLimit(kind=LimitKind.INPUT_TOKENS, remaining=300),)))
    assert counts(telemetry, "claude_ratelimit_limit") == {"input_tokens client": 1000}
    assert counts(telemetry, "claude_ratelimit_remaining") == {"input_tokens client": 300}
    assert counts(telemetry, "claude_ratelimit_reset_timestamp_seconds") == {"input_tokens client": 1_790_000_060.0}


def test_a_sampled_trace_makes_exemplars(telemetry: Telemetry) -> None:
    telemetry.attempt(attempt(trace=TRACE))
    telemetry.call(call(trace=TRACE, started_at=1000.0, duration=3.2, first_token=0.5))
    telemetry.call(call(trace=TRACE, first_token=None, profile=Profile.REALTIME))
    telemetry.attempt(attempt(trace=TRACE, max_gap=None, profile=Profile.REALTIME))
    for family in ("claude_attempt_duration_seconds", "claude_stream_max_gap_seconds"):
        (exemplar,) = telemetry.histogram(family, **LABELS).exemplars.values()
        assert exemplar.trace_id == TRACE.trace_id
    (exemplar,) = telemetry.histogram("claude_call_duration_seconds", profile="interactive").exemplars.values()
    assert exemplar == (3.2, TRACE.trace_id, 1003.2)
    (exemplar,) = telemetry.histogram("claude_first_token_seconds").exemplars.values()
    assert exemplar.value == 0.5


@pytest.mark.parametrize(
    ("changes"),
    [
        {"trace": TraceRef(trace_id=TRACE.trace_id, span_id=TRACE.span_id, sampled=False)},
        {"trace": TraceRef(trace_id="x" * 1_000_000, span_id="")},
        {"trace": TraceRef(trace_id='"} 1\n' * 6 + "ab", span_id="")},
        {"trace": TRACE, "started_at": float("nan")},
        {"trace": TRACE, "started_at": float("inf")},
        {"trace": TRACE, "started_at": -1e18},
    ],
)
def test_what_cannot_be_looked_up_makes_no_exemplar_but_counts(
    telemetry: Telemetry, changes: dict[str, object]
) -> None:
    telemetry.attempt(attempt(**changes))
    telemetry.call(call(**changes))
    durations = telemetry.histogram("claude_call_duration_seconds")
    assert (durations.total, dict(durations.exemplars)) == (1, {})


def test_a_request_without_a_model_says_none(telemetry: Telemetry) -> None:
    telemetry.call(call(endpoint="models", model=""))
    assert telemetry.value("claude_calls_total", endpoint="models", model="none") == 1


def test_a_call_that_was_rejected_had_no_attempts(telemetry: Telemetry) -> None:
    telemetry.call(call(outcome=Outcome.REJECTED, attempts=0, duration=0.0, first_token=None, usage=None))
    assert telemetry.value("claude_calls_total", outcome="rejected") == 1
    assert telemetry.histogram("claude_call_duration_seconds").zeros == 1


def test_counters_exist_from_the_first_call_of_a_model_on(telemetry: Telemetry) -> None:
    telemetry.attempt(attempt())
    telemetry.call(call())
    assert {labels["outcome"] for labels, _ in telemetry.values("claude_calls_total")} == set(Outcome)
    assert {labels["phase"] for labels, _ in telemetry.values("claude_timeouts_total")} == set(Phase)
    assert {labels["result"] for labels, _ in telemetry.values("claude_retried_calls_total")} == set(RetryResult)
    assert ("overloaded", "529") in {
        (labels["outcome"], labels["status"]) for labels, _ in telemetry.values("claude_attempts_total")
    }


def test_every_claude_family_says_who_saw_it() -> None:
    assert {family.name for family in FAMILIES if ("source" in family.labels) != family.name.startswith("claude_")} == (
        set()
    )


def test_a_histogram_does_not_exist_before_its_first_observation(telemetry: Telemetry) -> None:
    telemetry.call(call(first_token=None, usage=None))
    shown = {
        view.family.name for view in telemetry.collect() if view.family.kind is Kind.HISTOGRAM and [*view.histograms]
    }
    assert shown == {"claude_call_duration_seconds"}


@pytest.mark.parametrize(
    ("family", "labels", "complaint"),
    [
        ("claude_call_total", {}, "there is no family 'claude_call_total'; there are claude_calls_total, "),
        ("claude_calls_total", {"modle": "x"}, "has no label modle; it has endpoint, model, "),
    ],
)
def test_reading_what_there_is_not_says_what_there_is(
    telemetry: Telemetry, family: str, labels: dict[str, str], complaint: str
) -> None:
    with pytest.raises(KeyError, match=complaint):
        telemetry.value(family, **labels)
