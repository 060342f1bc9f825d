"""What the console costs: a call that is watched, an hour in memory, and the document for a viewer. CPU time."""

import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from sidecar.console import Console
from sidecar.console.history import BATCH, History
from sidecar.model import AttemptRecord, CallRecord, Outcome, Profile, Source
from sidecar.telemetry import Telemetry

ROUNDS = 9
CALLS = 20 * BATCH
COMMON: dict[str, Any] = {
    "source": Source.CLIENT,
    "endpoint": "messages",
    "profile": Profile.INTERACTIVE,
    "stream": True,
    "started_at": 1_790_000_000.0,
    "outcome": Outcome.OK,
}
CHANCE = random.Random(1)


def pair(model: str = "claude-sonnet-5") -> tuple[AttemptRecord, CallRecord]:
    """Make a call of one attempt."""
    duration = CHANCE.lognormvariate(1, 1)
    return (
        AttemptRecord(**COMMON, model=model, duration=duration, number=0, status=200, first_byte=0.3, max_gap=0.4),
        CallRecord(**COMMON, model=model, duration=duration, first_token=duration / 3, request_id="req_1"),
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


def watching() -> None:
    """Tell calls to a telemetry alone, and to one that a console watches."""
    pairs = [pair() for _ in range(CALLS)]
    alone, watched = Telemetry(), Telemetry()
    Console(watched, mode="client")

    def tell(telemetry: Telemetry) -> None:
        for attempt, call in pairs:
            telemetry.attempt(attempt)
            telemetry.call(call)

    without, with_it = fastest(lambda: tell(alone), lambda: tell(watched))
    line("a watched call against one that is only counted, sorting included", f"{with_it / without:.2f} x", "")
    line("the same, added to each call", f"{1e6 * (with_it - without) / CALLS:.1f} µs", "")


def hour() -> None:
    """Keep an hour of six models and five profiles, and put the document together."""
    now = [1_790_000_000.0]
    calls = 12_000

    def keep(history: Any) -> None:
        for _ in range(calls):
            attempt, call = pair(f"claude-{CHANCE.randrange(6)}")
            history.attempt(attempt)
            history.call(call)
            now[0] += 3600 / calls

    tracemalloc.start()
    history = History(lambda: now[0])
    keep(history)
    history.read(lambda _views, _now: None)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    line("memory of an hour, six models", f"{used / 1e6:.1f} MB", "bounded")

    telemetry = Telemetry(wall=lambda: now[0])
    console = Console(telemetry, mode="client", wall=lambda: now[0])
    keep(telemetry)
    first = time.thread_time()
    console.status(3600)
    first = time.thread_time() - first
    whole, frame = fastest(lambda: console.status(3600), lambda: console.status(900, since=now[0] - 5))
    line("the first document of an hour (then once a minute)", f"{1000 * first:.0f} ms", "")
    line("a document with all its points", f"{1000 * whole:.1f} ms", "")
    line("an event for one viewer, each second", f"{1000 * frame:.1f} ms", "")


if __name__ == "__main__":
    watching()
    hour()
