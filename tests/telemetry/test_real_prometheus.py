"""What comes out of a real Prometheus is what went in: the reason this project exposes histograms as it does."""

import math
import random
import subprocess
import time
from collections.abc import Iterator

import pytest

from sidecar import serve_metrics
from sidecar.model import BreakerState, Outcome, Phase, TraceRef
from sidecar.telemetry import Telemetry
from sidecar.telemetry.page import MetricsPage
from tests.support.prometheus import Prometheus, prometheus, server
from tests.telemetry.records import attempt, call

SAMPLES = 100_000
QUANTILES = (0.5, 0.95, 0.99)
TRACE = TraceRef(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")


def _lognormal(chance: random.Random) -> float:
    return chance.lognormvariate(1.0, 1.0)


def _bimodal(chance: random.Random) -> float:
    return chance.lognormvariate(0.0, 0.3) if chance.random() < 0.7 else chance.lognormvariate(3.0, 0.4)


def _heavy_tailed(chance: random.Random) -> float:
    return 0.5 * chance.paretovariate(1.3)


def _sixty(chance: random.Random) -> float:
    return 60.0 if chance.random() < 0.07 else chance.lognormvariate(1.0, 0.5)


DISTRIBUTIONS = {"lognormal": _lognormal, "bimodal": _bimodal, "heavy-tailed": _heavy_tailed, "sixty": _sixty}
SMOOTH = ("lognormal", "bimodal", "heavy-tailed")


class Readings:
    """Two Prometheus servers that have scraped the same calls, with and without native histograms."""

    def __init__(self, native: Prometheus, classic: Prometheus, truth: dict[tuple[str, float], float]) -> None:
        self.native = native
        self.classic = classic
        self.truth = truth


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readings]:
    telemetry = Telemetry()
    truth: dict[tuple[str, float], float] = {}
    chance = random.Random(60)
    for name, draw in DISTRIBUTIONS.items():
        durations = sorted(draw(chance) for _ in range(SAMPLES))
        for duration in durations:
            telemetry.call(call(model=name, duration=duration, first_token=None, usage=None))
        truth |= {(name, q): durations[math.ceil(q * SAMPLES) - 1] for q in QUANTILES}
    telemetry.attempt(attempt())
    telemetry.call(call(trace=TRACE, started_at=time.time() - 3.2))
    telemetry.breaker("api.anthropic.com/claude-sonnet-4-5")

    home = tmp_path_factory.mktemp("prometheus")
    with serve_metrics(0, telemetry=telemetry) as served:
        target = [f"127.0.0.1:{served.port}"]
        with (
            prometheus(home / "native", target) as native,
            prometheus(home / "classic", target, features=["exemplar-storage"]) as classic,
        ):
            native.wait_for_scrapes()
            classic.wait_for_scrapes()
            yield Readings(native, classic, truth)


@pytest.mark.parametrize("q", QUANTILES)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_native_histograms_read_back_within_a_bucket_of_two_percent(readings: Readings, name: str, q: float) -> None:
    read = readings.native.value(f'histogram_quantile({q}, claude_call_duration_seconds{{model="{name}"}})')
    allowed = 0.01 if name in SMOOTH else 0.022
    assert read == pytest.approx(readings.truth[name, q], rel=allowed)


@pytest.mark.parametrize("q", QUANTILES)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_classic_buckets_read_back_within_a_bucket(readings: Readings, name: str, q: float) -> None:
    read = readings.classic.value(f'histogram_quantile({q}, claude_call_duration_seconds_bucket{{model="{name}"}})')
    # Two bounds an octave: the truth and what is read lie between the same two.
    assert math.ceil(math.log2(read) * 2 - 1e-9) == math.ceil(math.log2(readings.truth[name, q]) * 2)


def test_native_counts_and_sums_are_exact(readings: Readings) -> None:
    assert readings.native.value('histogram_count(claude_call_duration_seconds{model="sixty"})') == SAMPLES
    assert readings.native.value('histogram_sum(claude_call_duration_seconds{model="claude-sonnet-4-5"})') == 3.2


@pytest.mark.parametrize("which", ["native", "classic"])
def test_exemplars_lead_to_their_trace(readings: Readings, which: str) -> None:
    asked: Prometheus = getattr(readings, which)
    found = asked.exemplars('{__name__=~"claude_call_duration_seconds(_bucket)?"}')
    assert {exemplar["labels"]["trace_id"] for exemplar in found} == {TRACE.trace_id}
    assert {float(exemplar["value"]) for exemplar in found} == {3.2}


@pytest.mark.parametrize(
    "series",
    [
        f'claude_calls_total{{model="claude-sonnet-4-5", outcome="{Outcome.TIMEOUT}"}}',
        'claude_attempts_total{model="claude-sonnet-4-5", outcome="overloaded", status="529"}',
        f'claude_timeouts_total{{model="claude-sonnet-4-5", phase="{Phase.STALL}"}}',
        'claude_retried_calls_total{model="claude-sonnet-4-5", result="exhausted"}',
        'claude_breaker_transitions_total{from="closed", to="open"}',
        'sidecar_dropped_records_total{reason="negative"}',
        'sidecar_label_overflows_total{label="model"}',
    ],
)
def test_counters_are_there_before_the_first_event(readings: Readings, series: str) -> None:
    assert readings.native.value(series) == 0
    assert readings.classic.value(series) == 0


def test_the_process_describes_itself(readings: Readings) -> None:
    assert readings.classic.value("process_resident_memory_bytes") > 0
    assert readings.native.value("python_info") == 1


def test_promtool_has_nothing_to_complain_of() -> None:
    telemetry = Telemetry()
    telemetry.attempt(attempt())
    telemetry.call(call(outcome=Outcome.TIMEOUT, phase=Phase.STALL))
    telemetry.breaker("host/model").state(BreakerState.CLOSED)
    telemetry.in_flight.begin("messages", "model").end()
    page = MetricsPage(telemetry).answer("GET").body
    checked = subprocess.run([server("promtool"), "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
