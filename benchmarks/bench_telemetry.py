"""What telemetry costs: recording, rendering, memory. CPU time; every ratio is against something of the same run."""

import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from sidecar.model import AttemptRecord, CallRecord, Outcome, Profile, Source, TraceRef, Usage
from sidecar.telemetry import SparseHistogram, Telemetry
from sidecar.telemetry.exposition import Format, Renderer
from sidecar.telemetry.families import FIRST_TOKEN
from sidecar.telemetry.store import Store
from sidecar.telemetry.view import FamilyView

ROUNDS = 15
MODELS = 18
COMMON: dict[str, Any] = {
    "source": Source.CLIENT,
    "endpoint": "messages",
    "profile": Profile.INTERACTIVE,
    "stream": True,
    "started_at": 1_790_000_000.0,
    "outcome": Outcome.OK,
}
TRACE = TraceRef(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")


def attempt(model: str, duration: float, **more: Any) -> AttemptRecord:
    """Make an attempt whose stream was read to its end."""
    return AttemptRecord(
        **COMMON, model=model, duration=duration, number=0, status=200, max_gap=duration / 5, first_byte=0.2, **more
    )


def call(model: str, duration: float, **more: Any) -> CallRecord:
    """Make its call, with everything a call can tell."""
    return CallRecord(
        **COMMON,
        model=model,
        duration=duration,
        first_token=duration / 4,
        output_seconds=duration / 2,
        usage=Usage(input=int(duration * 1000), output=400, cache_read=200),
        stop_reason="end_turn",
        **more,
    )


def fastest(*works: Callable[[], object]) -> list[float]:
    """Give the best CPU time of each, measured turn about, so that a busy machine slows all of them alike."""
    best = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for position, work in enumerate(works):
            begun = time.thread_time()
            work()
            best[position] = min(best[position], time.thread_time() - begun)
    return best


def line(what: str, figure: str, target: str) -> None:
    """Print one line of the report."""
    print(f"  {what:<64} {figure:>14}   {target}")


def put_off(telemetry: Telemetry, pairs: list[tuple[AttemptRecord, CallRecord]]) -> None:
    """Have records counted in batches, and the last of them by a reader."""
    for each in pairs:
        telemetry.ended(each.__iter__)
    telemetry.snapshot()


def recording() -> None:
    """One finished call with one attempt, beside one observe and one inc of prometheus_client."""
    calls = 2_000
    chance = random.Random(1)
    pairs = [(attempt("claude-sonnet-4-5", d), call("claude-sonnet-4-5", d)) for d in _durations(chance, calls)]
    traced = [
        (attempt("claude-sonnet-4-5", d, trace=TRACE), call("claude-sonnet-4-5", d, trace=TRACE))
        for d in _durations(chance, calls)
    ]
    telemetry = Telemetry()
    registry = CollectorRegistry()
    labels = ("endpoint", "model", "outcome")
    histogram = Histogram("reference_seconds", "Reference.", labels, registry=registry)
    counter = Counter("reference", "Reference.", labels, registry=registry)
    single = SparseHistogram()

    def reference() -> None:
        for record, _ in pairs:
            histogram.labels("messages", record.model, "ok").observe(record.duration)
            counter.labels("messages", record.model, "ok").inc()

    def ours(records: list[tuple[AttemptRecord, CallRecord]]) -> None:
        for each in records:
            telemetry.attempt(each[0])
            telemetry.call(each[1])

    def in_flight() -> None:
        for _ in range(calls):
            ticket = telemetry.in_flight.begin("messages", "claude-sonnet-4-5")
            ticket.waiting()
            ticket.idle()
            ticket.end()

    def observing() -> None:
        for record, _ in pairs:
            single.observe(record.duration)

    base, record, with_trace, later, flight, observe = (
        seconds / calls * 1e6
        for seconds in fastest(
            reference,
            lambda: ours(pairs),
            lambda: ours(traced),
            lambda: put_off(telemetry, pairs),
            in_flight,
            observing,
        )
    )
    print("recording one finished call with one attempt, all families, label guard included")
    line("prometheus_client: one observe, one inc, uncached labels()", f"{base:.1f} us", "")
    line("claude-sidecar", f"{record:.1f} us", "<= 10 us")
    line("  against prometheus_client's one observe and inc", f"{record / base:.2f} x", "<= 4 x")
    line("  with a sampled trace (exemplars)", f"{with_trace:.1f} us", "")
    line("  put off and counted in batches, as the client does", f"{later:.1f} us", "")
    line("  and its mark as under way: begin, wait, byte, end", f"{flight:.1f} us", "")
    line("  one observe of a SparseHistogram by itself", f"{observe:.2f} us", "")


def rendering() -> None:
    """5,000 series, beside prometheus_client's own rendering of as many."""
    chance = random.Random(2)
    telemetry = Telemetry()
    for n in range(MODELS):
        for duration in _durations(chance, 300):
            telemetry.attempt(attempt(f"model-{n}", duration))
            telemetry.call(call(f"model-{n}", duration))
    renderer = Renderer()
    lines = _series(renderer.render(telemetry.collect()))
    registry = CollectorRegistry()
    bounds = [2 ** (n / 2) for n in range(-14, 25)]
    labels = ("endpoint", "model", "profile", "stream", "outcome", "source")
    theirs = Histogram("reference_seconds", "Reference.", labels, buckets=bounds, registry=registry)
    one = 0
    while _series(generate_latest(registry)) < lines:
        child = theirs.labels("messages", f"model-{one}", "interactive", "true", "ok", "client")
        for duration in _durations(chance, 30):
            child.observe(duration)
        one += 1
    base, text, openmetrics, protobuf = (
        seconds * 1e3
        for seconds in fastest(
            lambda: generate_latest(registry),
            *(lambda form=form: renderer.render(telemetry.collect(), form) for form in Format),
        )
    )
    print(f"rendering {lines} series, copying them included")
    line("prometheus_client.generate_latest of as many", f"{base:.1f} ms", "")
    line("text 0.0.4", f"{text:.1f} ms", "")
    line("  against generate_latest", f"{text / base:.3f} x", "<= 0.1 x")
    line("OpenMetrics against generate_latest", f"{openmetrics / base:.3f} x", "<= 0.1 x")
    line("protobuf, native and classic buckets, against generate_latest", f"{protobuf / base:.3f} x", "<= 0.1 x")
    line("  against text", f"{protobuf / text:.2f} x", "<= 1 x")


def memory() -> None:
    """One active histogram series: its counts, its labels, its exemplars, and what rendering keeps of it."""
    series = 100
    chance = random.Random(3)
    store, renderer = Store(), Renderer()

    def fill(begin: int) -> None:
        for n in range(begin, begin + series):
            labels = (f"model-{n}", "interactive", "client")
            histogram = store.histogram(FIRST_TOKEN, "messages", *labels)
            for position, duration in enumerate(_durations(chance, 1_000)):
                histogram.add(duration)
                histogram.add_exemplar(duration, f"{n * 10_000 + position:032x}", 1_790_000_000.0 + position)
        renderer.render([FamilyView(FIRST_TOKEN, histograms=store.histograms(FIRST_TOKEN))], Format.PROTOBUF)

    fill(0)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    fill(series)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print("memory, lognormal durations")
    line("one histogram series with its labels and exemplars", f"{(after - before) / series / 1024:.1f} KB", "<= 4 KB")


def _durations(chance: random.Random, count: int) -> list[float]:
    return [chance.lognormvariate(1.0, 0.8) for _ in range(count)]


def _series(page: bytes) -> int:
    return sum(not text.startswith(b"#") for text in page.splitlines())


if __name__ == "__main__":
    print(f"Python {sys.version.split()[0]}, best of {ROUNDS}, CPU time")
    recording()
    rendering()
    memory()
