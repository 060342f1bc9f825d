"""What the rules cost in a real Prometheus, and how soon a page is told.

Cost: 5,000 series of classic buckets, every 15 s for more than the last hour, and the series that long windows add up,
two weeks back, are written into a Prometheus, which then says itself how long its rules took.
Detection: promtool finds the first evaluation at which the alert fires; scrape, evaluation and delivery are added at
their worst.
"""

import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' way of telling promtool a story

from sidecar.alerts import alert_groups, load_values, recording_groups
from sidecar.alerts.export import default_slos, links
from sidecar.rules import as_prometheus
from sidecar.rules.histograms import Buckets
from sidecar.slo import generate, load
from tests.alerts.cases_timeouts import HANGING, SPIKE
from tests.alerts.promtool import Case, check

SCRAPE = EVALUATION = 15
GROUP_WAIT = 5  # as the Alertmanager example has it for pages
COST_TARGET, SPIKE_TARGET, SILENCE_TARGET = 0.150, 90, 120
SERIES = 5000
BLOCKS = 30
PACE = 5
CPU = "CPU time of Prometheus in a round"
ROUNDS = 5
BOUNDS = [f"{2.0 ** (step / 2)!r}" for step in range(-14, 25)] + ["+Inf"]
JOBS, MODELS, PROFILES = ("api", "batch"), ("claude-a", "claude-b", "claude-c"), ("interactive", "default")
OUTCOMES = (
    *("ok", "timeout", "rate_limited", "overloaded", "server_error", "connection_error", "client_error", "truncated"),
    *("cancelled", "rejected"),
)
RANDOM = random.Random(1)


def uses() -> Iterator[str]:
    """Labels of every use: what the recorded series keep."""
    for job, model, profile in itertools.product(JOBS, MODELS, PROFILES):
        yield f'job="{job}",source="client",endpoint="messages",model="{model}",profile="{profile}"'


def models() -> Iterator[str]:
    """Labels without the profile."""
    for job, model in itertools.product(JOBS, MODELS):
        yield f'job="{job}",source="client",endpoint="messages",model="{model}"'


def counters() -> dict[str, list[str]]:
    """List the families and their series, about as a real exposition has them."""
    families: dict[str, list[str]] = {
        "claude_calls_total": [f'{use},stream="true",outcome="{o}"' for use in uses() for o in OUTCOMES],
        "claude_attempts_total": [f'{use},outcome="{o}",status="200"' for use in uses() for o in OUTCOMES[:9]],
        "claude_timeouts_total": [f'{use},phase="{p}"' for use in uses() for p in ("connect", "first_byte", "stall")],
        "claude_retried_calls_total": [f'{m},result="{r}"' for m in models() for r in ("recovered", "exhausted")],
        "claude_tokens_total": [f'{m},kind="{k}"' for m in models() for k in ("input", "output", "cache_read")],
        "claude_stops_total": [f'{m},reason="{r}"' for m in models() for r in ("end_turn", "max_tokens", "tool_use")],
        "sidecar_build_info": [f'job="{job}",version="1"' for job in JOBS],
    }
    answered = OUTCOMES[:4]
    histograms = {
        "claude_call_duration_seconds": [f'{use},stream="true",outcome="{o}"' for use in uses() for o in answered],
        "claude_attempt_duration_seconds": [f'{use},outcome="{o}"' for use in uses() for o in answered],
        "claude_first_token_seconds": list(uses()),
        "claude_prompt_tokens": list(models()),
    }
    for name, labels in histograms.items():
        families[f"{name}_bucket"] = [f'{each},le="{bound}"' for each in labels for bound in BOUNDS]
        families[f"{name}_count"] = families[f"{name}_sum"] = labels
    return families


def raw_series() -> list[tuple[str, str]]:
    """List the raw series, filled up to 5,000 with instances of one more histogram."""
    raw = [(name, labels) for name, found in counters().items() for labels in found]
    for number in range((SERIES - len(raw)) // len(BOUNDS)):
        raw += [
            ("claude_stream_max_gap_seconds_bucket", f'job="api",source="client",instance="{number}",le="{bound}"')
            for bound in BOUNDS
        ]
    return sorted(raw)


def sampled_series() -> list[tuple[str, str]]:
    """List what the long windows add up."""
    whats = ("calls", "timed_out_calls", "failed_calls", "counted_calls", "sent_calls", "attempts")
    return [
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
            (f"slo:sli_{part}:sampled5m", f'job="{job}",source="client",{objective_labels(slo)}')
            for part in ("total", "error")
            for job in JOBS
            for slo in ("availability", "timeouts", "interactive-first-token")
        ),
    ]


def objective_labels(slo: str) -> str:
    """Label an objective's series as the rules do."""
    return f'sloth_id="claude-{slo}",sloth_service="claude",sloth_slo="{slo}",sloth_window="5m"'


def backfill(data: Path, begin: int, end: int) -> None:
    """Write blocks of sampled series; promtool reads its file once for every two hours of it, so give it short ones."""
    file = data.with_suffix(".txt")
    with file.open("w") as out:
        for name, found in itertools.groupby(sampled_series(), key=lambda each: each[0]):
            out.write(f"# TYPE {name} unknown\n")
            for _, labels in found:
                step = _pace(labels)
                out.writelines(f"{name}{{{labels}}} {step} {at}\n" for at in range(begin, end, 120))
        out.write("# EOF\n")
    run("promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(data))
    file.unlink()


def fill_head(url: str, begin: int, end: int) -> int:
    """Send the last hours as remote writes, so that they lie where scraped samples do: in memory, not in blocks."""
    raw = [(_encoded(name, labels), _pace(labels)) for name, labels in raw_series()]
    sampled = [(_encoded(name, labels), _pace(labels)) for name, labels in sampled_series()]
    for number, at in enumerate(range(begin, end, SCRAPE)):
        series = [(head, pace * number) for head, pace in raw]
        if number % 8 == 0:
            series += sampled
        body = b"".join(_field(1, head + _field(2, _sample(value, at))) for head, value in series)
        request = urllib.request.Request(  # noqa: S310  # our own server on loopback
            f"{url}/api/v1/write", data=_snappy(body), headers={"Content-Type": "application/x-protobuf"}
        )
        with urllib.request.urlopen(request):  # noqa: S310  # the same
            pass
    return len(raw)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004  # seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _encoded(name: str, labels: str) -> bytes:
    pairs = sorted([("__name__", name), *re.findall(r'(\w+)="([^"]*)"', labels)])
    return b"".join(_field(1, _field(1, key.encode()) + _field(2, value.encode())) for key, value in pairs)


def _sample(value: float, at: int) -> bytes:
    return b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at * 1000)


def _snappy(body: bytes) -> bytes:
    """Frame bytes as snappy does what it cannot compress: one length, then literals."""
    literals = (body[start : start + 65536] for start in range(0, len(body), 65536))
    return _varint(len(body)) + b"".join(b"\xf4" + struct.pack("<H", len(part) - 1) + part for part in literals)


def run(*command: str) -> str:
    """Run one of Prometheus' tools, or our own script that finds them."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603  # our own words


def _pace(labels: str) -> int:
    """Let a healthy service be told of: what fails is rare, so that no alert renders its message."""
    if ",le=" in labels:
        return BOUNDS.index(labels.split(',le="')[1].rstrip('"'))
    rare = re.search(r'(outcome|result|reason)="(?!ok|recovered|end_turn)', labels) or "phase=" in labels
    return 0 if rare else RANDOM.randrange(20, 40)


def measure_cost(folder: Path) -> tuple[int, dict[str, float]]:
    """Start a Prometheus on the backfilled data; return its own figures, by group."""
    # Evaluated more often than by default, so that nobody waits minutes for the slow group; one evaluation costs
    # the same.
    values = load_values(None, (f"intervals.fast={PACE}s", f"intervals.slow={PACE}s"))
    slos, _ = load(default_slos())
    groups = (
        *recording_groups(Buckets.CLASSIC, values),
        *alert_groups(values),
        *generate(slos, Buckets.CLASSIC, links(values)),
    )
    (folder / "rules.yaml").write_text(as_prometheus(groups))
    (folder / "prometheus.yaml").write_text("global: {}\n")  # the rules come when everything they read is there
    data, now, day = folder / "data", int(time.time()), 86400
    recent = (now - 4200) // 7200 * 7200  # where a block of two hours begins
    for begin in range(now - 14 * day, recent, day):
        backfill(data, begin, min(begin + day, recent))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(  # noqa: S603  # our own words
        [  # noqa: S607  # found by scripts/servers
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--storage.tsdb.retention.time=60d",
            "--web.enable-remote-write-receiver",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                _metrics(url)
                break
            except OSError:
                time.sleep(0.2)
        raw = fill_head(url, recent, now)
        (folder / "prometheus.yaml").write_text("global: {}\nrule_files: [rules.yaml]\n")
        server.send_signal(signal.SIGHUP)
        return raw, _durations(url, len(groups))
    finally:
        server.terminate()
        server.wait()


def _durations(url: str, groups: int) -> dict[str, float]:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        time.sleep(1)
        try:
            text = _metrics(url)
            with urllib.request.urlopen(f"{url}/api/v1/rules") as answer:  # noqa: S310  # our own server
                rules = [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]
        except OSError:
            continue
        counts = re.findall(r'rule_evaluations_total\{rule_group="[^"]*;([^"]+)"\} (\d+)', text)
        # Two weeks are twelve times fourteen blocks at first; Prometheus joins them a minute after its start.
        blocks = int(re.findall(r"tsdb_blocks_loaded (\d+)", text)[0])
        if len(counts) == groups and all(rule["health"] == "ok" for rule in rules) and blocks < BLOCKS:
            return _quickest(url)
    raise SystemExit("Prometheus did not evaluate every group within three minutes")


def _quickest(url: str) -> dict[str, float]:
    """Read each group's last duration again and again, and keep the shortest: other work on the machine only adds.

    Beside them stands the CPU time a round took, which other work does not change.
    """
    best: dict[str, float] = {}
    text = _metrics(url)
    before = _cpu(text)
    for _ in range(ROUNDS):
        time.sleep(PACE)
        text = _metrics(url)
        for name, seconds in re.findall(r'group_last_duration_seconds\{rule_group="[^"]*;([^"]+)"\} (\S+)', text):
            best[name] = min(best.get(name, float("inf")), float(seconds))
    best[CPU] = (_cpu(text) - before) / ROUNDS
    return best


def _metrics(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics") as answer:  # noqa: S310  # our own server on loopback
        return str(answer.read().decode())


def _cpu(text: str) -> float:
    return float(re.findall(r"^process_cpu_seconds_total (\S+)", text, re.MULTILINE)[0])


def verified(case: Case, before: str, at: str, folder: Path) -> None:
    """Let promtool confirm that the alert fires at one evaluation and not at the one before."""
    if (case.fires[before], case.fires[at]) != (0, 1):
        raise SystemExit(f"the case no longer says when it fires: {case}")
    check(case, folder)


def main() -> None:
    """Print the table."""
    os.environ["PATH"] = run("scripts/servers").strip() + os.environ["PATH"]
    folder = Path(tempfile.mkdtemp(prefix="bench-alerts-"))
    try:
        verified(SPIKE[0], "10m15s", "10m30s", folder)
        verified(HANGING[0], "30m30s", "30m45s", folder)
        raw, durations = measure_cost(folder)
    finally:
        shutil.rmtree(folder)
    cpu = durations.pop(CPU)
    total = sum(durations.values())
    print(f"{'what':58} {'figure':>10} {'target':>10}")
    print(
        f"{f'all rules, {raw} series and 14 d, one evaluation':58} {total * 1000:7.0f} ms {COST_TARGET * 1000:7.0f} ms"
    )
    print(f"{'  CPU time of Prometheus meanwhile, all included':58} {cpu * 1000:7.0f} ms")
    for name, seconds in sorted(durations.items(), key=lambda item: -item[1])[:6]:
        print(f"  {name:56} {seconds * 1000:7.1f} ms")
    # In promtool scrape and evaluation fall on the same instant, so each of the two may still add a whole interval.
    for what, inside, target in (
        ("0.5 % to 20 % at 5 calls/s, delivered", 28, SPIKE_TARGET),
        ("silent upstream, delivered", 45, SILENCE_TARGET),
    ):
        worst = inside + SCRAPE + EVALUATION + GROUP_WAIT
        print(f"{what:58} {worst:8} s {target:8} s")


if __name__ == "__main__":
    main()
