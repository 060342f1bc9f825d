"""What the rules cost in a real Prometheus, and how soon a page is told.

Cost: 5,000 series of classic buckets, every 15 s for the last hour, and what long windows add up, two weeks back, are
put into a Prometheus, which then says itself how long its rules took; and the same service once more with native
histograms. Detection: promtool finds the first evaluation at which the alert fires; scrape, evaluation and delivery
are added at their worst.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' way of telling promtool a story

from benchmarks.prometheus_data import LastHours, Series, send, write_blocks
from sidecar.alerts import alert_groups, load_values, recording_groups
from sidecar.alerts.export import default_slos, links
from sidecar.demo import Server, prometheus
from sidecar.rules import Group, as_prometheus
from sidecar.rules.histograms import Buckets
from sidecar.slo import generate, load
from tests.alerts.cases_timeouts import HANGING, SPIKE
from tests.alerts.promtool import Case, check

SCRAPE = EVALUATION = 15
GROUP_WAIT = 5  # as the Alertmanager example has it for pages
COST_TARGET, SPIKE_TARGET, SILENCE_TARGET = 0.150, 90, 120
SERIES = 5000
SAMPLES = 300
DAY = 86400
RECENT = 4650
"""Seconds of raw samples. So the present lies amid a chunk of 116 samples, and windows of five minutes in that one, as
they do five times of six; where they span two, reading them costs half as much again.
"""
BLOCKS = "30d"
"""What Prometheus writes blocks of. With its two hours it ends chunks at each even hour and spreads them over what is
left until then: what a read costs would hang on the time of day, by two and more with native histograms.
"""
AHEAD = 120
"""Seconds of raw samples beyond the present: rules look no further, but their windows stay full meanwhile."""
PACE, ROUNDS = 1, 20
"""Seconds from one evaluation to the next, and how many are looked at."""
OFTEN = 14
CPU = "CPU time of Prometheus in a round"
BOUNDS = [f"{2.0 ** (step / 2)!r}" for step in range(-14, 25)] + ["+Inf"]
WITHIN_TWO_SECONDS = 2
JOBS, MODELS, PROFILES = ("api", "batch"), ("claude-a", "claude-b", "claude-c"), ("interactive", "default")
OUTCOMES = (
    *("ok", "timeout", "rate_limited", "overloaded", "server_error", "connection_error", "client_error", "truncated"),
    *("cancelled", "rejected"),
)


def uses() -> Iterator[str]:
    """Labels of every use: what the recorded series keep."""
    for job, model, profile in itertools.product(JOBS, MODELS, PROFILES):
        yield f'job="{job}",source="client",endpoint="messages",model="{model}",profile="{profile}"'


def models() -> Iterator[str]:
    """Labels without the profile."""
    for job, model in itertools.product(JOBS, MODELS):
        yield f'job="{job}",source="client",endpoint="messages",model="{model}"'


def counters() -> dict[Series, int]:
    """List counters about as a real exposition has them, and how fast each rises."""
    families = {
        "claude_calls_total": [f'{use},stream="true",outcome="{o}"' for use in uses() for o in OUTCOMES],
        "claude_attempts_total": [f'{use},outcome="{o}",status="200"' for use in uses() for o in OUTCOMES[:9]],
        "claude_timeouts_total": [f'{use},phase="{p}"' for use in uses() for p in ("connect", "first_byte", "stall")],
        "claude_retried_calls_total": [f'{m},result="{r}"' for m in models() for r in ("recovered", "exhausted")],
        "claude_tokens_total": [f'{m},kind="{k}"' for m in models() for k in ("input", "output", "cache_read")],
        "claude_stops_total": [f'{m},reason="{r}"' for m in models() for r in ("end_turn", "max_tokens", "tool_use")],
        "sidecar_build_info": [f'job="{job}",version="1"' for job in JOBS],
    }
    return {(name, labels): _pace(name, labels) for name, found in families.items() for labels in found}


def histograms() -> list[Series]:
    """List the histograms of the same service."""
    answered = OUTCOMES[:4]
    return [
        *(("claude_call_duration_seconds", f'{use},stream="true",outcome="{o}"') for use in uses() for o in answered),
        *(("claude_attempt_duration_seconds", f'{use},outcome="{o}"') for use in uses() for o in answered),
        *(("claude_first_token_seconds", use) for use in uses()),
        *(("claude_prompt_tokens", model) for model in models()),
    ]


def classic(found: list[Series]) -> dict[Series, int]:
    """Spell histograms as classic buckets: answers take up to two seconds."""
    paces = {bound: min(max(index - WITHIN_TWO_SECONDS, 0), OFTEN) for index, bound in enumerate(BOUNDS)}
    return {
        **{(f"{name}_bucket", f'{labels},le="{le}"'): pace for name, labels in found for le, pace in paces.items()},
        **{(f"{name}_{part}", labels): OFTEN for name, labels in found for part in ("count", "sum")},
    }


def sampled() -> dict[Series, float]:
    """List what the long windows add up."""
    whats = ("calls", "timed_out_calls", "failed_calls", "counted_calls", "sent_calls", "attempts")
    found = [
        *((f"claude:{what}:sampled_5m", use) for what in whats for use in uses()),
        *(
            ("claude:retried_calls:sampled_5m", f'{model},result="{result}"')
            for model in models()
            for result in ("recovered", "exhausted")
        ),
        *(
            (f"claude:{what}:sampled_5m", model)
            for what in ("prompt_tokens", "prompts", "tokens")
            for model in models()
        ),
        *(
            (f"slo:sli_{part}:sampled5m", f'job="{job}",source="client",{objective(slo)}')
            for part in ("total", "error")
            for job in JOBS
            for slo in ("availability", "timeouts", "interactive-first-token")
        ),
    ]
    return {each: _pace(*each) for each in found}


def copied_buckets() -> dict[Series, float]:
    """List what an hour adds up of classic buckets alone."""
    return {
        (
            "claude:ok_call_duration_seconds:sampled_5m",
            f'job="{job}",source="client",profile="{profile}",stream="true",le="{bound}"',
        ): min(max(index - WITHIN_TWO_SECONDS, 0), OFTEN)
        for job, profile, (index, bound) in itertools.product(JOBS, PROFILES, enumerate(BOUNDS))
    }


def objective(slo: str) -> str:
    """Label an objective's series as the rules do."""
    return f'sloth_id="claude-{slo}",sloth_service="claude",sloth_slo="{slo}",sloth_window="5m"'


def _pace(name: str, labels: str) -> int:
    """Let a healthy service be told of: an alert that fires renders its message, which is another matter."""
    if re.search("error|failed|timed_out", name) or "phase=" in labels:
        return 0
    return 0 if re.search(r'(outcome|result|reason)="(?!ok|recovered|end_turn)', labels) else OFTEN


def rules(buckets: Buckets) -> tuple[Group, ...]:
    """Build everything a default installation loads, evaluated more often: one evaluation costs the same."""
    values = load_values()
    slos, _ = load(default_slos())
    groups = (*recording_groups(buckets, values), *alert_groups(values), *generate(slos, buckets, links(values)))
    return tuple(replace(group, interval=f"{PACE}s") for group in groups)


def measure_cost(home: Path, buckets: Buckets, past: Path, begin: int) -> tuple[int, dict[str, float]]:
    """Run a Prometheus on the past and a last hour; return its number of series, and its own figures by group."""
    home.mkdir()
    shutil.copytree(past, home / "data")
    groups, rising = rules(buckets), counters()
    # Only the ones with data on their side: a native histogram is one series where classic buckets are forty.
    native = histograms() if buckets is Buckets.NATIVE else []
    if buckets is Buckets.CLASSIC:
        rising |= classic(histograms())
        for number in range((SERIES - len(rising)) // len(BOUNDS)):
            name, labels = "claude_stream_max_gap_seconds_bucket", f'job="api",source="client",instance="{number}"'
            rising |= {(name, f'{labels},le="{bound}"'): 1 for bound in BOUNDS}
    (home / "rules.yaml").write_text(as_prometheus(groups))
    options = (
        *("--storage.tsdb.retention.time=60d", "--web.enable-remote-write-receiver"),
        *(f"--storage.tsdb.{which}-block-duration={BLOCKS}" for which in ("min", "max")),
    )
    with prometheus(home, {"global": {}}, options=options, features=("native-histograms",)) as server:
        now = int(time.time())
        hours = LastHours(
            begin=begin,
            now=now,
            end=now + AHEAD,
            rising=rising,
            native=native,
            step=SCRAPE,
            constant=sampled() | (copied_buckets() if buckets is Buckets.CLASSIC else {}),
            constant_step=SAMPLES,
        )
        send(server, hours)
        # The rules come when everything they read is there.
        (home / "prometheus.yml").write_text(json.dumps({"rule_files": [str(home / "rules.yaml")]}))
        with urllib.request.urlopen(urllib.request.Request(f"{server.url}/-/reload", method="POST")):  # noqa: S310  # our own server on loopback
            pass
        _wait_for_all(server, len(groups))
        return len(rising) + len(native), _quickest(server)


def _wait_for_all(server: Server, groups: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = server.ask("/api/v1/rules")["data"]["groups"]
        if len(found) == groups and all(rule["health"] == "ok" for group in found for rule in group["rules"]):
            return
        time.sleep(PACE)
    raise SystemExit("Prometheus did not evaluate every group within a minute")


def _quickest(server: Server) -> dict[str, float]:
    """Read each group's last duration again and again, and keep the shortest: other work on the machine only adds.

    Beside them stands the CPU time a round took, which other work does not change.
    """
    best: dict[str, float] = {}
    before, begun = _cpu(_metrics(server)), time.monotonic()
    for _ in range(ROUNDS):
        time.sleep(PACE)
        for name, seconds in re.findall(
            r'group_last_duration_seconds\{rule_group="[^"]*;([^"]+)"\} (\S+)', _metrics(server)
        ):
            best[name] = min(best.get(name, float("inf")), float(seconds))
    best[CPU] = (_cpu(_metrics(server)) - before) / (time.monotonic() - begun) * PACE
    firing = {alert["labels"]["alertname"] for alert in server.ask("/api/v1/alerts")["data"]["alerts"]}
    if firing:
        raise SystemExit(f"this service should be healthy, and these alerts are active: {', '.join(sorted(firing))}")
    return best


def _metrics(server: Server) -> str:
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:  # noqa: S310  # our own server on loopback
        return str(answer.read().decode())


def _cpu(text: str) -> float:
    return float(re.findall(r"^process_cpu_seconds_total (\S+)", text, re.MULTILINE)[0])


def verified(case: Case, before: str, at: str, folder: Path) -> None:
    """Let promtool confirm that the alert fires at one evaluation and not at the one before."""
    if (case.fires[before], case.fires[at]) != (0, 1):
        raise SystemExit(f"the case no longer says when it fires: {case}")
    check(case, folder)


def report_cost(what: str, durations: dict[str, float], *, shown: int) -> None:
    """Print the sum, and the groups that cost most."""
    cpu = durations.pop(CPU)
    print(f"{what:58} {sum(durations.values()) * 1000:7.0f} ms {COST_TARGET * 1000:7.0f} ms")
    amortised = sum(seconds * EVALUATION / _interval(name) for name, seconds in durations.items())
    print(f"{'  each group at its own interval, per 15 s':58} {amortised * 1000:7.0f} ms")
    print(f"{'  CPU time of Prometheus meanwhile, all included':58} {cpu * 1000:7.0f} ms")
    for name, seconds in sorted(durations.items(), key=lambda item: -item[1])[:shown]:
        print(f"  {name:56} {seconds * 1000:7.1f} ms")


def _interval(group: str) -> int:
    return SAMPLES if "samples" in group else 120 if "history" in group or group.endswith("slow") else EVALUATION


def main() -> None:
    """Print the table."""
    found = subprocess.run(["scripts/servers"], check=True, capture_output=True, text=True)  # noqa: S607  # our own
    os.environ["PATH"] = found.stdout.strip() + os.environ["PATH"]
    folder = Path(tempfile.mkdtemp(prefix="bench-alerts-"))
    try:
        verified(SPIKE[0], "10m15s", "10m30s", folder)
        verified(HANGING[0], "30m30s", "30m45s", folder)
        begin = (int(time.time()) - RECENT) // SAMPLES * SAMPLES
        write_blocks(folder / "past", sampled(), begin - 14 * DAY, begin, SAMPLES)
        costs = {buckets: measure_cost(folder / buckets, buckets, folder / "past", begin) for buckets in Buckets}
    finally:
        shutil.rmtree(folder)
    print(f"{'what':58} {'figure':>10} {'target':>10}")
    for buckets, shown in ((Buckets.CLASSIC, 6), (Buckets.NATIVE, 3)):
        count, durations = costs[buckets]
        report_cost(f"all rules, {buckets}, {count} series and 14 d, one evaluation", durations, shown=shown)
    # In promtool scrape and evaluation fall on the same instant, so each of the two may still add a whole interval.
    for what, inside, target in (
        ("0.5 % to 20 % at 5 calls/s, delivered", 28, SPIKE_TARGET),
        ("silent upstream, delivered", 45, SILENCE_TARGET),
    ):
        worst = inside + SCRAPE + EVALUATION + GROUP_WAIT
        print(f"{what:58} {worst:8} s {target:8} s")


if __name__ == "__main__":
    main()
