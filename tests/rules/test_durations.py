"""Durations, as Prometheus spells them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.rules import duration, seconds


@pytest.mark.parametrize(
    ("text", "value"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("30d", 2592000), ("1w", 604800), ("250ms", 0.25)]
)
def test_durations_are_read_as_prometheus_reads_them(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "1.5h", "5m1h", "5x", "1" * 30 + "s"])
def test_what_is_none_is_refused_with_what_was_found(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write one as Prometheus does"):
        seconds(text)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10**7))
def test_whole_seconds_survive_being_written(value: int) -> None:
    assert seconds(duration(value)) == value
