"""History for a real Prometheus: scraped pages turned into its blocks, and rules evaluated over the past.

`promtool` backfills blocks from text, but evaluates no rule that reads another rule's result; so rules are evaluated
here, level by level, through the API of a Prometheus that already holds what they read.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import yaml

from tests.support.prometheus import Prometheus, prometheus, server

TARGET: Final = {"cluster": "eu-1", "namespace": "chat", "job": "chat-api", "instance": "10.0.0.7:9464"}
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_BLOCK: Final = 7200
"""Seconds that a block of Prometheus spans."""
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, and how often it is scraped and rules are evaluated."""

    start: float
    end: float
    step: float


def scraped(pages: Iterable[tuple[float, str]], target: Mapping[str, str]) -> Iterator[str]:
    """Turn pages into lines with times, and the labels and series that a scrape adds."""
    labels = ",".join(f'{name}="{value}"' for name, value in target.items())
    heads: dict[str, str] = {}
    for moment, page in pages:
        stamp = f" {moment:.3f}\n"
        lines = [line for line in page.splitlines() if line[0] != "#"]
        for line in lines:
            head, _, value = line.rpartition(" ")
            known = heads.get(head)
            if known is None:
                name, brace, rest = head.partition("{")
                known = heads[head] = f"{name}{{{labels}{',' + rest if brace else '}'} "
            yield f"{known}{value}{stamp}"
        for name, number in (("up", 1), ("scrape_duration_seconds", 0.004), ("scrape_samples_scraped", len(lines))):
            yield f"{name}{{{labels}}} {number}{stamp}"


def backfill(home: Path, lines: Iterable[str]) -> None:
    """Write lines into the storage under ``home`` as blocks; nobody may be using it."""
    (home / "data").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files: dict[int, IO[str]] = {}
        for line in lines:
            # One text for each of Prometheus' blocks: promtool reads a text once again for every block in it.
            block = int(float(line[line.rindex(" ") :]) // _BLOCK)
            if block not in files:
                files[block] = stack.enter_context((home / f"{block}.txt").open("w"))
            files[block].write(line)
        for file in files.values():
            file.write("# EOF\n")
    for block in files:
        text = home / f"{block}.txt"
        command = [
            server("promtool"),
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "--quiet",
            str(text),
            str(home / "data"),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        text.unlink()


@contextmanager
def opened(home: Path) -> Iterator[Prometheus]:
    """Run a Prometheus over the storage."""
    with prometheus(home, []) as running:
        yield running


def evaluate(home: Path, files: Sequence[Path], span: Span) -> None:
    """Evaluate recording rules, then alerts, over the span, and store what they would have stored."""
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    rules = [(group, rule) for group in groups for rule in group["rules"]]
    pending = [(group, rule) for group, rule in rules if "record" in rule]
    while pending:
        waiting = {rule["record"] for _, rule in pending}
        ready = [(group, rule) for group, rule in pending if not waiting & set(_NAME.findall(rule["expr"]))]
        assert ready, f"these rules read each other: {sorted(waiting)}"
        with opened(home) as running:
            lines = [line for group, rule in ready for line in _recorded(running, group, rule, span)]
        backfill(home, lines)
        pending = [each for each in pending if each not in ready]
    with opened(home) as running:
        lines = [line for group, rule in rules if "alert" in rule for line in _alerted(running, group, rule, span)]
    backfill(home, lines)


def _evaluated(running: Prometheus, group: Mapping[str, Any], rule: Mapping[str, Any], span: Span) -> Any:
    step = max(span.step, _seconds(group.get("interval", "15s")))
    data = running.api("query_range", query=rule["expr"], start=span.start + step, end=span.end, step=step)
    return step, data["result"]


def _recorded(running: Prometheus, group: Mapping[str, Any], rule: Mapping[str, Any], span: Span) -> Iterator[str]:
    _, result = _evaluated(running, group, rule, span)
    for series in result:
        head = _head(rule["record"], {**series["metric"], **rule.get("labels", {})})
        yield from (f"{head} {value} {moment:.3f}\n" for moment, value in series["values"])


def _alerted(running: Prometheus, group: Mapping[str, Any], rule: Mapping[str, Any], span: Span) -> Iterator[str]:
    step, result = _evaluated(running, group, rule, span)
    hold, keep = _seconds(rule.get("for", "0s")), _seconds(rule.get("keep_firing_for", "0s"))
    for series in result:
        labels = {"alertname": rule["alert"], **series["metric"], **rule.get("labels", {})}
        labels.pop("__name__", None)
        moments = [moment for moment, _ in series["values"]]
        active: float | None = None
        firing, true_at = False, 0.0
        moment = span.start + step
        present = set(moments)
        while moment <= span.end:
            if moment in present:
                active, true_at = (moment if active is None else active), moment
                firing = firing or moment - active >= hold
            elif not (firing and moment - true_at <= keep):
                active, firing = None, False
            if active is not None:
                state = "firing" if firing else "pending"
                yield f"{_head('ALERTS', {**labels, 'alertstate': state})} 1 {moment:.3f}\n"
                yield f"{_head('ALERTS_FOR_STATE', labels)} {active} {moment:.3f}\n"
            moment += step


def _head(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{key}="{value}"' for key, value in labels.items() if key != "__name__")
    return f"{name}{{{inner}}}"


def _seconds(text: str) -> float:
    return float(text[:-1]) * _UNITS[text[-1]]
