import bisect
import math
import random
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.telemetry import HistogramSnapshot, SparseHistogram
from sidecar.telemetry.histogram import MAX_BUCKETS, MAX_EXEMPLARS, MAX_VALUE, ZERO_THRESHOLD

# From a tenth of a microsecond to a day and a bit.
durations = st.floats(1e-7, 1e5)
# Twenty octaves less a little: the most that schema 5 spans.
narrow = st.floats(0.001, 900.0)
quantiles = st.floats(0.0, 1.0)


def filled(values: list[float]) -> HistogramSnapshot:
    histogram = SparseHistogram()
    for value in values:
        histogram.observe(value)
    return histogram.snapshot()


def truth(values: list[float], q: float) -> float:
    return sorted(values)[max(1, math.ceil(q * len(values) * (1 - 1e-12))) - 1]


@settings(deadline=None, max_examples=200)
@given(st.lists(narrow, min_size=1, max_size=60), quantiles)
def test_a_quantile_is_within_1_1_percent_of_the_truth(values: list[float], q: float) -> None:
    snapshot = filled(values)
    assert snapshot.schema == 5
    assert snapshot.quantile(q) == pytest.approx(truth(values, q), rel=0.011)


@settings(deadline=None, max_examples=200)
@given(st.lists(durations, min_size=1, max_size=60), quantiles)
def test_a_quantile_is_as_exact_as_the_schema_says(values: list[float], q: float) -> None:
    snapshot = filled(values)
    assert snapshot.quantile(q) == pytest.approx(truth(values, q), rel=2 ** (0.5 / 2**snapshot.schema) - 1 + 1e-9)


@settings(deadline=None, max_examples=200)
@given(st.lists(durations, max_size=60))
def test_counts_up_to_a_bound_are_exact(values: list[float]) -> None:
    counted = filled(values).cumulative(-14, 24)
    ordered = sorted(values)
    assert counted == [bisect.bisect_right(ordered, 2 ** (n / 2)) for n in range(-14, 25)] + [len(values)]


@settings(deadline=None, max_examples=100)
@given(st.lists(durations, max_size=40), st.lists(durations, max_size=40))
def test_merging_is_observing_all(ours: list[float], theirs: list[float]) -> None:
    merged = SparseHistogram()
    for value in ours:
        merged.observe(value)
    merged.merge(filled(theirs))
    whole, together = merged.snapshot(), filled(ours + theirs)
    assert whole.schema == together.schema
    assert whole.cumulative(-60, 40) == together.cumulative(-60, 40)
    assert whole.sum == pytest.approx(together.sum)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, MAX_VALUE), min_size=1, max_size=80))
def test_memory_stays_bounded_whatever_comes(values: list[float]) -> None:
    snapshot = filled(values)
    used = [index for index, count in enumerate(snapshot.counts) if count]
    assert not used or used[-1] - used[0] < MAX_BUCKETS
    # Room comes in whole half octaves, so there may be a little more of it at either end.
    assert len(snapshot.counts) <= MAX_BUCKETS + 2 * 2 ** (snapshot.schema - 1)
    assert snapshot.total == len(values)


@pytest.mark.parametrize("n", range(-70, 100))
def test_a_value_on_a_bound_counts_below_it(n: int) -> None:
    assert filled([2.0 ** (n / 2)]).cumulative(n - 1, n) == [0, 1, 1]


def test_resolution_is_halved_only_when_640_buckets_do_not_do() -> None:
    just_enough = filled([1.0, 2 ** (639 / 32)])
    assert just_enough.schema == 5
    too_many = filled([1.0, 2 ** (640 / 32)])
    assert too_many.schema == 4
    assert too_many.cumulative(-1, 40) == [0, *[1] * 40, 2, 2]


def test_the_widest_spread_there_can_be_still_has_classic_bounds() -> None:
    assert filled([ZERO_THRESHOLD * 1.1, MAX_VALUE]).schema >= 1


@pytest.mark.parametrize("order", [1, -1])
def test_room_is_made_on_either_side(order: int) -> None:
    values = [2.0**n for n in range(-8, 9)][::order]
    assert filled(values).cumulative(-16, 16)[::2] == list(range(1, 18))


def test_counts_grow_past_32_bits() -> None:
    histogram = SparseHistogram()
    histogram.observe(1.0)
    for _ in range(33):
        histogram.merge(histogram.snapshot())
    histogram.observe(1.0)
    assert histogram.snapshot().total == 2**33 + 1
    assert histogram.snapshot().quantile(1.0) == pytest.approx(1.0, rel=0.011)


def test_counting_one_by_one_passes_32_bits_too() -> None:
    full = filled([1.0])
    full.counts[15] = 2**32 - 1
    histogram = SparseHistogram()
    histogram.merge(full)
    histogram.observe(1.0)
    assert histogram.snapshot().total == 2**32


def test_halving_passes_32_bits_too() -> None:
    full = filled([1.02, 1.03])
    for index, count in enumerate(full.counts):
        full.counts[index] = (2**32 - 1) * bool(count)
    histogram = SparseHistogram()
    histogram.merge(full)
    histogram.observe(2.0**30)
    assert histogram.snapshot().total == 2 * (2**32 - 1) + 1


def test_what_no_clock_can_tell_from_zero_is_zero() -> None:
    snapshot = filled([0.0, ZERO_THRESHOLD, 1.0])
    assert snapshot.zeros == 2
    assert snapshot.quantile(0.5) == 0.0
    assert snapshot.cumulative(0, 0) == [3, 3]


def test_nothing_observed_has_no_quantile() -> None:
    assert math.isnan(SparseHistogram().snapshot().quantile(0.5))


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_of_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        filled([1.0]).quantile(q)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, -math.inf, MAX_VALUE * 2])
def test_a_value_that_is_none_is_refused_and_changes_nothing(value: float) -> None:
    histogram = SparseHistogram()
    with pytest.raises(ValueError, match="holds values from 0"):
        histogram.observe(value)
    assert histogram.snapshot() == SparseHistogram().snapshot()


def test_the_latest_exemplar_of_an_octave_is_kept() -> None:
    histogram = SparseHistogram()
    histogram.observe(3.1, trace_id="old", at=1.0)
    histogram.observe(3.2, trace_id="new", at=2.0)
    histogram.observe(0.0, trace_id="zero", at=3.0)
    assert [exemplar.trace_id for exemplar in histogram.snapshot().exemplars.values()] == ["new", "zero"]


def test_exemplars_are_few_and_the_oldest_go() -> None:
    histogram = SparseHistogram()
    for n in range(2 * MAX_EXEMPLARS):
        histogram.observe(2.0**n, trace_id=str(n), at=float(n))
    kept = [exemplar.trace_id for exemplar in histogram.snapshot().exemplars.values()]
    assert kept == [str(n) for n in range(MAX_EXEMPLARS, 2 * MAX_EXEMPLARS)]


def test_exemplars_are_merged_by_time() -> None:
    ours, theirs = SparseHistogram(), SparseHistogram()
    ours.observe(3.1, trace_id="ours", at=1.0)
    theirs.observe(3.2, trace_id="theirs", at=2.0)
    ours.merge(theirs.snapshot())
    assert [exemplar.trace_id for exemplar in ours.snapshot().exemplars.values()] == ["theirs"]


def test_threads_lose_nothing() -> None:
    histogram = SparseHistogram()
    chance = random.Random(1)
    values = [chance.lognormvariate(1, 1) for _ in range(2000)]
    start = threading.Barrier(4)

    def observe() -> None:
        start.wait()
        for value in values:
            histogram.observe(value)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=observe) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert histogram.snapshot().total == 4 * len(values)
    assert histogram.snapshot().cumulative(-14, 24) == [4 * count for count in filled(values).cumulative(-14, 24)]


def test_a_snapshot_stays_as_it_is() -> None:
    histogram = SparseHistogram()
    histogram.observe(1.0, trace_id="first", at=1.0)
    snapshot = histogram.snapshot()
    histogram.observe(1.0, trace_id="second", at=2.0)
    assert snapshot.total == 1
    assert [exemplar.trace_id for exemplar in snapshot.exemplars.values()] == ["first"]
