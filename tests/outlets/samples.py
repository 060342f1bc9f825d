"""Records to send about, and hypothesis strategies for them."""

import random
from typing import Any

from hypothesis import strategies as st

from sidecar.model import (
    ATTEMPT_OUTCOMES,
    ENDPOINTS,
    AttemptRecord,
    CallRecord,
    LimitKind,
    Outcome,
    Phase,
    Profile,
    RateLimit,
    RetryResult,
    Source,
    TraceRef,
    Usage,
    Wait,
)

TRACE = TraceRef(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")


def attempt(**changes: Any) -> AttemptRecord:
    values: dict[str, Any] = {
        "source": Source.CLIENT,
        "endpoint": "messages",
        "model": "claude-sonnet-5-5",
        "profile": Profile.INTERACTIVE,
        "stream": True,
        "number": 0,
        "started_at": 1_800_000_000.25,
        "duration": 2.5,
        "outcome": Outcome.OK,
        "status": 200,
        "host": "api.anthropic.com",
        "port": 443,
        "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
        "first_byte": 0.5,
        "first_token": 0.75,
        "max_gap": 0.25,
        "max_gap_at": 1.0,
    }
    return AttemptRecord(**(values | changes))


def call(**changes: Any) -> CallRecord:
    values: dict[str, Any] = {
        "source": Source.CLIENT,
        "endpoint": "messages",
        "model": "claude-sonnet-5-5",
        "profile": Profile.INTERACTIVE,
        "stream": True,
        "started_at": 1_800_000_000.25,
        "duration": 2.5,
        "outcome": Outcome.OK,
        "host": "api.anthropic.com",
        "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
        "first_token": 0.75,
        "output_seconds": 1.75,
        "usage": Usage(input=1_000, output=350, cache_read=20_000),
        "stop_reason": "end_turn",
    }
    return CallRecord(**(values | changes))


def pairs(count: int, seed: int = 1) -> list[AttemptRecord | CallRecord]:
    """Return records of ``count`` calls of one attempt each, in the order they come: attempt, call, attempt, ..."""
    rng = random.Random(seed)
    records: list[AttemptRecord | CallRecord] = []
    for _ in range(count):
        request_id = f"req_{rng.getrandbits(96):024x}"
        trace = TraceRef(trace_id=f"{rng.getrandbits(128) | 1:032x}", span_id=f"{rng.getrandbits(64) | 1:016x}")
        duration = rng.lognormvariate(1, 1)
        records.append(attempt(duration=duration, request_id=request_id, trace=trace))
        records.append(call(duration=duration, request_id=request_id, trace=trace))
    return records


_seconds = st.floats(0, 30 * 86_400.0)
_moments = st.floats(0, 2.0**40)
_names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
_optional_names = st.none() | _names
_traces = st.builds(
    TraceRef,
    trace_id=st.integers(1, 2**128 - 1).map("{:032x}".format),
    span_id=st.integers(1, 2**64 - 1).map("{:016x}".format),
    sampled=st.booleans(),
)
_limits = st.builds(
    RateLimit,
    kind=st.sampled_from(LimitKind),
    limit=st.none() | st.integers(0, 2**60),
    remaining=st.none() | st.integers(0, 2**60),
    reset_at=st.none() | _moments,
)
_waits = st.builds(Wait, reason=st.sampled_from(Outcome), at=_seconds, seconds=_seconds, completed=st.booleans())
_tokens = st.integers(0, 2**40)

attempts: st.SearchStrategy[AttemptRecord] = st.builds(
    AttemptRecord,
    source=st.sampled_from(Source),
    endpoint=st.sampled_from(ENDPOINTS),
    model=st.just("") | _names,
    profile=st.sampled_from(Profile),
    stream=st.booleans(),
    number=st.integers(0, 65_535),
    started_at=_moments,
    duration=_seconds,
    outcome=st.sampled_from(ATTEMPT_OUTCOMES),
    phase=st.none() | st.sampled_from(Phase),
    status=st.none() | st.integers(100, 999),
    error_type=_optional_names,
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    host=st.just("") | _names,
    port=st.none() | st.integers(1, 65_535),
    request_id=_optional_names,
    first_byte=st.none() | _seconds,
    first_token=st.none() | _seconds,
    max_gap=st.none() | _seconds,
    max_gap_at=st.none() | _seconds,
    limits=st.lists(_limits, max_size=4).map(tuple),
    trace=st.none() | _traces,
)
calls: st.SearchStrategy[CallRecord] = st.builds(
    CallRecord,
    source=st.sampled_from(Source),
    endpoint=st.sampled_from(ENDPOINTS),
    model=st.just("") | _names,
    profile=st.sampled_from(Profile),
    stream=st.booleans(),
    started_at=_moments,
    duration=_seconds,
    outcome=st.sampled_from(Outcome),
    phase=st.none() | st.sampled_from(Phase),
    attempts=st.integers(0, 65_535),
    waits=st.lists(_waits, max_size=4).map(tuple),
    retry_result=st.none() | st.sampled_from(RetryResult),
    error_type=_optional_names,
    host=st.just("") | _names,
    request_id=_optional_names,
    first_token=st.none() | _seconds,
    output_seconds=st.none() | _seconds,
    usage=st.none() | st.builds(Usage, input=_tokens, output=_tokens, cache_read=_tokens, cache_write=_tokens),
    stop_reason=_optional_names,
    trace=st.none() | _traces,
)
