"""What the dashboards' queries cost a real Prometheus with 5,000 series over 6 hours.

CPU time of the Prometheus process for each query as Grafana sends it, the mean of several, beside a reference asked in
the same run: one recorded series, plain.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.dashboards.boards import BOARDS, Query, filled, queries  # noqa: E402  # the root is put on the path first
from tests.support.filled import fill  # noqa: E402
from tests.support.history import Span, opened  # noqa: E402
from tests.support.prometheus import Prometheus  # noqa: E402
from tests.support.traffic import SCENARIOS, Fleet  # noqa: E402

HOURS: Final = 6
SCRAPE: Final = 30.0
POINTS: Final = 700
"""How many points a graph of a third of a screen's width asks for, at most."""
TARGET: Final = 0.2
TIMES: Final = 5
"""A process's CPU time is told in hundredths of a second."""


def main() -> None:
    """Fill a Prometheus, ask everything, and print the slowest."""
    servers = subprocess.run([ROOT / "scripts" / "servers"], check=True, capture_output=True, text=True).stdout  # noqa: S603  # our own script
    os.environ["PATH"] = servers.strip() + os.environ["PATH"]
    end = time.time() // 7200 * 7200
    span = Span(end - HOURS * 3600, end, SCRAPE)
    fleet = Fleet(models=[f"claude-model-{number}" for number in range(7)], calls_per_second=2.0)
    with tempfile.TemporaryDirectory(prefix="sidecar-bench-") as scratch:
        begun = time.time()
        fill(Path(scratch), SCENARIOS["everything"], fleet, span, alerts=False, pace=60.0)
        with opened(Path(scratch)) as server:
            scraped = f'count({{__name__=~"claude_.+|sidecar_.+|process_.+"}} @ {end:.0f})'
            series = int(server.query(scraped)[0][1])
            print(f"{series} scraped series over {HOURS} h (filled in {time.time() - begun:.0f} s)")
            reference = _took(server, "sum(claude:calls:rate_5m)", span, instant=False)
            times = sorted(((_asked(server, query, span), str(query)) for query in queries()), reverse=True)
    print(f"{'query':<64}{'ms':>8}{'x reference':>13}")
    for took, name in [*times[:8], (reference, "reference: sum(claude:calls:rate_5m)")]:
        print(f"{name:<64}{took * 1e3:>8.0f}{took / max(reference, 1e-3):>13.1f}")
    slow = sum(took > TARGET for took, _ in times)
    print(f"target: none above {TARGET * 1e3:.0f} ms; above it: {slow} of {len(times)}")


def _asked(server: Prometheus, query: Query, span: Span) -> float:
    board = BOARDS[query.board]
    panel = next(panel for panel in board["panels"] if panel["title"] == query.panel)
    step = max(SCRAPE, -(-(span.end - span.start) // (panel.get("maxDataPoints", POINTS) * 15)) * 15)
    expr = filled(board, query.expr, {}, step=step, span=span.end - span.start)
    return _took(server, expr, span, instant=query.instant, step=step)


def _took(server: Prometheus, expr: str, span: Span, *, instant: bool, step: float = SCRAPE) -> float:
    begun = _cpu(server)
    for _ in range(TIMES):
        if instant:
            server.api("query", query=expr, time=span.end)
        else:
            server.api("query_range", query=expr, start=span.start, end=span.end, step=step)
    return (_cpu(server) - begun) / TIMES


def _cpu(server: Prometheus) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=60) as page:  # noqa: S310  # our own loopback
        return float(re.search(rb"^process_cpu_seconds_total (\S+)", page.read(), re.MULTILINE)[1])  # type: ignore[index]


if __name__ == "__main__":
    main()
