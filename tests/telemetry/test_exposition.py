"""The pages, read back by other people's parsers."""

import math
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.model import BreakerState, Outcome, Phase, TraceRef
from sidecar.telemetry import HistogramSnapshot, SparseHistogram, Telemetry
from sidecar.telemetry.exposition import Format, Renderer
from sidecar.telemetry.exposition.text import number
from sidecar.telemetry.families import BY_NAME, CALL_DURATION, FAMILIES, FIRST_TOKEN, Kind
from sidecar.telemetry.view import FamilyView
from tests.telemetry.metrics_proto import labels_of, native_counts, parse
from tests.telemetry.records import attempt, call

TRACE = TraceRef(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")
HOSTILE = 'a "quoted" \\ 100% {model}, é 模型'


@pytest.fixture
def telemetry() -> Telemetry:
    telemetry = Telemetry()
    telemetry.attempt(attempt(outcome=Outcome.TIMEOUT, phase=Phase.STALL))
    for n in range(200):
        telemetry.call(call(duration=0.01 * 1.06**n, started_at=1000.25, trace=TRACE if n == 100 else None))
    telemetry.call(call(model=HOSTILE))
    telemetry.breaker("host/model").state(BreakerState.OPEN)
    return telemetry


def page(views: Iterable[FamilyView], form: Format) -> bytes:
    return Renderer().render(views, form)


def test_text_says_what_telemetry_knows(telemetry: Telemetry) -> None:
    families = {family.name: family for family in parse_text(page(telemetry.collect(), Format.TEXT).decode())}
    calls = {tuple(sample.labels.values()): sample.value for sample in families["claude_calls"].samples}
    assert calls["messages", "claude-sonnet-4-5", "interactive", "true", "ok", "client"] == 200
    assert calls["messages", HOSTILE, "interactive", "true", "ok", "client"] == 1
    samples = families["claude_call_duration_seconds"].samples
    counts = [s.value for s in samples if s.name.endswith("_bucket") and s.labels["model"] != HOSTILE]
    assert len(counts) == 40
    assert counts == sorted(counts)
    assert counts[-1] == 200
    sums = [s.value for s in samples if s.name.endswith("_sum")]
    assert sums[0] == pytest.approx(sum(0.01 * 1.06**n for n in range(200)))


@pytest.mark.parametrize("form", Format)
def test_no_piece_of_a_page_is_long(form: Format) -> None:
    """However many series a family has: whoever sends the page has other things to do in between."""
    telemetry = Telemetry(label_limit=200)
    for n in range(200):
        telemetry.call(call(model=f"model-{n}"))
    renderer = Renderer()
    pieces = [*renderer.pieces(telemetry.collect(), form)]
    assert max(map(len, pieces)) < 64 * 1024
    assert b"".join(pieces) == renderer.render(telemetry.collect(), form)
    assert len(b"".join(pieces)) > 10 * 64 * 1024


def test_openmetrics_is_strictly_valid_and_carries_exemplars(telemetry: Telemetry) -> None:
    families = {
        family.name: family for family in parse_openmetrics(page(telemetry.collect(), Format.OPENMETRICS).decode())
    }
    histogram = families["claude_call_duration_seconds"]
    assert histogram.unit == "seconds"
    (found,) = (sample for sample in histogram.samples if sample.exemplar)
    value = 0.01 * 1.06**100
    assert found.exemplar.labels == {"trace_id": TRACE.trace_id}
    assert found.exemplar.value == pytest.approx(value)
    assert float(found.exemplar.timestamp) == pytest.approx(1000.25 + value, abs=0.001)
    assert float(found.labels["le"]) / math.sqrt(2) < value <= float(found.labels["le"])
    assert b" # {" not in page(telemetry.collect(), Format.TEXT)


def test_protobuf_says_what_telemetry_knows(telemetry: Telemetry) -> None:
    families = parse(page(telemetry.collect(), Format.PROTOBUF))
    calls = {
        tuple(labels_of(metric).values()): metric.counter.value for metric in families["claude_calls_total"].metric
    }
    assert calls["messages", "claude-sonnet-4-5", "interactive", "true", "ok", "client"] == 200
    assert calls["messages", HOSTILE, "interactive", "true", "ok", "client"] == 1
    states = {labels_of(m)["state"]: m.gauge.value for m in families["claude_breaker_state"].metric}
    assert states == {state.value: float(state is BreakerState.OPEN) for state in BreakerState}
    assert {name: family.type for name, family in families.items()} == {
        name: {Kind.COUNTER: 0, Kind.GAUGE: 1, Kind.HISTOGRAM: 4}[BY_NAME[name].kind] for name in families
    }
    assert families["claude_calls_total"].help == BY_NAME["claude_calls_total"].help


def test_protobuf_carries_native_and_classic_buckets_and_exemplars_on_these(telemetry: Telemetry) -> None:
    family = parse(page(telemetry.collect(), Format.PROTOBUF))["claude_call_duration_seconds"]
    histogram = family.metric[0].histogram
    assert (histogram.sample_count, histogram.schema, histogram.zero_count) == (200, 5, 0)
    assert sum(native_counts(histogram).values()) == 200
    bounds = [bucket.upper_bound for bucket in histogram.bucket]
    assert bounds == [*(2 ** (n / 2) for n in range(-14, 25)), math.inf]
    assert [b.cumulative_count for b in histogram.bucket] == telemetry.histogram(
        "claude_call_duration_seconds", model="claude-sonnet-4-5"
    ).cumulative(-14, 24)
    (exemplar,) = (bucket.exemplar for bucket in histogram.bucket if bucket.HasField("exemplar"))
    value = 0.01 * 1.06**100
    assert labels_of(exemplar) == {"trace_id": TRACE.trace_id}
    assert exemplar.value == pytest.approx(value)
    assert exemplar.timestamp.seconds + exemplar.timestamp.nanos / 1e9 == pytest.approx(1000.25 + value)


def filled(values: Iterable[tuple[float, int]]) -> HistogramSnapshot:
    histogram = SparseHistogram()
    for value, times in values:
        one = SparseHistogram()
        one.observe(value)
        repeated = one.snapshot()
        for index, count in enumerate(repeated.counts):
            repeated.counts[index] = count * times
        histogram.merge(repeated._replace(zeros=repeated.zeros * times, sum=value * times))
    return histogram.snapshot()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(1e-7, 1e5), st.floats(1.0, 1.4), st.just(0.0)),
            st.one_of(st.integers(1, 200), st.sampled_from([63, 64, 65, 255, 256, 65536, 2**31, 2**32 - 1])),
        ),
        max_size=60,
    )
)
def test_native_buckets_come_back_exactly_whatever_they_hold(values: list[tuple[float, int]]) -> None:
    snapshot = filled([*values, (1.0, 1)])
    view = FamilyView(FIRST_TOKEN, histograms=[(("messages", "model", "default", "client"), snapshot)])
    histogram = parse(page([view], Format.PROTOBUF))[FIRST_TOKEN.name].metric[0].histogram
    # Prometheus numbers buckets from their upper bound, we from their lower one.
    expected = {index + 1: count for index, count in enumerate(snapshot.counts, snapshot.low) if count}
    assert native_counts(histogram) == expected
    assert histogram.schema == snapshot.schema
    assert histogram.zero_count == snapshot.zeros
    assert histogram.sample_count == snapshot.total
    assert histogram.sample_sum == snapshot.sum


def test_counts_past_32_bits_come_back_exactly() -> None:
    snapshot = filled([(1.0, 2**32 - 1), (1.0, 2**32 - 1), (1.1, 3)])
    assert snapshot.counts.itemsize == 8
    view = FamilyView(FIRST_TOKEN, histograms=[(("messages", "model", "default", "client"), snapshot)])
    histogram = parse(page([view], Format.PROTOBUF))[FIRST_TOKEN.name].metric[0].histogram
    assert sorted(native_counts(histogram).values()) == [3, 2 * (2**32 - 1)]


def test_only_zeros_are_a_native_histogram_too() -> None:
    view = FamilyView(FIRST_TOKEN, histograms=[(("messages", "model", "default", "client"), filled([(0.0, 3)]))])
    histogram = parse(page([view], Format.PROTOBUF))[FIRST_TOKEN.name].metric[0].histogram
    assert (histogram.zero_count, histogram.zero_threshold > 0, len(histogram.positive_delta)) == (3, True, 0)


def test_exemplars_beyond_the_classic_buckets_go_to_the_outermost() -> None:
    histogram = SparseHistogram()
    for value, name in ((1e-6, "a"), (0.0, "b"), (1e6, "c"), (1e7, "d")):
        histogram.observe(value, trace_id=name * 32, at=ord(name))
    view = FamilyView(CALL_DURATION, histograms=[(tuple("abcdef"), histogram.snapshot())])
    buckets = parse(page([view], Format.PROTOBUF))[CALL_DURATION.name].metric[0].histogram.bucket
    found = {
        bucket.upper_bound: labels_of(bucket.exemplar)["trace_id"][0]
        for bucket in buckets
        if bucket.HasField("exemplar")
    }
    assert found == {2**-7: "b", math.inf: "d"}


def test_bounds_read_the_same_from_every_format() -> None:
    assert [number(value) for value in (0.5, 1.0, 2**19.5, 2.0**20, 2.0**21, math.inf, -math.inf, 1e22, 7)] == [
        "0.5",
        "1.0",
        "741455.2001894653",
        "1.048576e+06",
        "2.097152e+06",
        "+Inf",
        "-Inf",
        "1e+22",
        "7",
    ]
    assert number(math.nan) == "NaN"
    assert number(1_000_000.0) == "1e+06"


def test_classic_buckets_cover_10_ms_to_1_h_two_an_octave() -> None:
    telemetry = Telemetry()
    telemetry.call(call())
    lines = page(telemetry.collect(), Format.TEXT).decode().splitlines()
    bounds = [float(line.split(',le="')[1].split('"')[0]) for line in lines if "duration_seconds_bucket" in line]
    assert bounds[0] <= 0.01
    assert bounds[-2] >= 3600
    assert all(above / below == pytest.approx(math.sqrt(2)) for below, above in pairwise(bounds[:-1]))


@pytest.mark.parametrize("form", Format)
def test_a_family_without_series_is_not_shown(form: Format) -> None:
    rendered = page(Telemetry().collect(), form)
    assert b"sidecar_build_info" in rendered
    assert b"claude_" not in rendered


def test_a_second_page_says_the_same(telemetry: Telemetry) -> None:
    renderer = Renderer()
    for form in Format:
        assert renderer.render(telemetry.collect(), form) == renderer.render(telemetry.collect(), form)


def test_every_family_explains_itself() -> None:
    assert [family.name for family in FAMILIES if not family.help.endswith((".", "."))] == []
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
