"""The one-second buckets, beside a list of everything that happened."""

from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy.window import SlidingCounts


@settings(max_examples=100, deadline=None)
@given(
    start=st.sampled_from([-7.5, 0.0, 3.25, 1e6]),
    size=st.integers(1, 7),
    steps=st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 6.0, 7.0, 50.0]), st.integers(0, 1)), max_size=60
    ),
)
def test_it_counts_what_a_list_of_everything_counts(start: float, size: int, steps: list[tuple[float, int]]) -> None:
    counts = SlidingCounts(2, size, start)
    seen: list[tuple[float, int]] = []
    now = start
    for wait, kind in steps:
        now += wait
        counts.roll(now)
        counts.totals[kind] += 1
        seen.append((now, kind))
        inside = [past for at, past in seen if floor(now) - floor(at) < size]
        assert counts.within(now) == [inside.count(0), inside.count(1)]
    assert len(counts._marks) == size


def test_nothing_as_old_as_the_window_is_counted_and_nothing_a_second_younger_is_missed() -> None:
    counts = SlidingCounts(1, 5, 0.0)
    counts.roll(0.9)
    counts.totals[0] += 1
    assert counts.within(4.99) == [1]
    assert counts.within(5.0) == [0]


def test_a_clock_that_steps_back_stays_in_the_newest_bucket() -> None:
    counts = SlidingCounts(1, 2, 10.0)
    counts.roll(11.0)
    counts.totals[0] += 1
    counts.roll(3.0)
    counts.totals[0] += 1
    assert counts.within(3.0) == [2]
    assert counts.within(12.5) == [2]
    assert counts.within(13.0) == [0]


def test_a_clock_that_steps_back_a_little_loses_nothing() -> None:
    counts = SlidingCounts(1, 3, 10.0)
    for now in (9.5, 10.2, 11.0, 10.5, 11.2):
        counts.roll(now)
        counts.totals[0] += 1
    assert counts.within(12.9) == [5]
    assert counts.within(13.0) == [3]
    assert counts.within(14.0) == [0]
