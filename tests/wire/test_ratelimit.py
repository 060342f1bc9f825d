"""Rate-limit headers become records; what cannot be read is left out, never guessed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model import LimitKind, RateLimit
from sidecar.wire.ratelimit import parse_rate_limits, parse_timestamp


def test_each_kind_becomes_one_record() -> None:
    assert parse_rate_limits(
        {
            b"content-type": b"application/json",
            b"anthropic-ratelimit-requests-limit": b"50",
            b"anthropic-ratelimit-requests-remaining": b"49",
            b"anthropic-ratelimit-requests-reset": b"2026-11-21T00:00:00Z",
            b"anthropic-ratelimit-input-tokens-remaining": b"0",
            b"anthropic-ratelimit-output-tokens-limit": b"8000",
            b"anthropic-ratelimit-tokens-limit": b"9000",
            b"anthropic-ratelimit-unified-status": b"allowed",
        }
    ) == (
        RateLimit(kind=LimitKind.REQUESTS, limit=50, remaining=49, reset_at=1_795_219_200.0),
        RateLimit(kind=LimitKind.INPUT_TOKENS, remaining=0),
        RateLimit(kind=LimitKind.OUTPUT_TOKENS, limit=8000),
        RateLimit(kind=LimitKind.TOKENS, limit=9000),
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1970-01-01T00:00:10Z", 10.0),
        (b"1970-01-01T01:00:10.5+01:00", 10.5),
        (b"1970-01-01T00:00:10", 10.0),
        (b"soon", None),
        (b"", None),
        (b"9" * 1000, None),
        (b"\xff", None),
        (b"0001-01-01T00:00:00+23:59", None),
    ],
)
def test_reset_times_are_rfc_3339_or_nothing(text: bytes, seconds: float | None) -> None:
    assert parse_timestamp(text) == seconds


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"x", b"9" * 30, "²".encode()])
def test_numbers_that_make_no_sense_leave_no_record(value: bytes) -> None:
    assert parse_rate_limits({b"anthropic-ratelimit-requests-limit": value}) == ()


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from([b"anthropic-ratelimit-requests-reset", b"anthropic-ratelimit-tokens-limit", b"x" * 30]),
        st.binary(max_size=50),
    )
)
def test_any_value_is_survived(headers: dict[bytes, bytes]) -> None:
    parse_rate_limits(headers)
