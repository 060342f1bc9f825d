"""Cases for promtool: series as a person would tell them, and when an alert must and must not fire."""

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from sidecar.alerts import Buckets, alert_groups, load_values, recording_groups
from sidecar.rules import Alert, Group, Recording, Rule, as_prometheus, seconds

APP = 'job="app",source="client"'
MODEL = f'{APP},model="claude-a"'
SERIES = f'{MODEL},endpoint="messages",profile="interactive"'


@dataclass(frozen=True)
class Line:
    """What a series does, span by span."""

    spans: tuple[tuple[str, str, float], ...] = ()
    start: float | None = None
    """The very first sample; None for a series that begins with its first span."""

    def rises(self, span: str, per_minute: float) -> "Line":
        """Let a counter rise evenly."""
        return self._also(span, "rises", per_minute)

    def restarts(self) -> "Line":
        """Let a counter begin again at 0, as a new process does."""
        return self._also("", "restarts", 0)

    def stays(self, span: str, value: float) -> "Line":
        """Hold a gauge at a value."""
        return self._also(span, "stays", value)

    def moves(self, span: str, to: float) -> "Line":
        """Let a gauge go evenly to a value."""
        return self._also(span, "moves", to)

    def misses(self, span: str) -> "Line":
        """Leave out samples."""
        return self._also(span, "misses", 0)

    def _also(self, span: str, kind: str, value: float) -> "Line":
        return Line((*self.spans, (span, kind, value)), self.start)

    def written(self, every: str) -> str:
        """Write it in promtool's notation, with a sample every so often."""
        now, parts = self.start or 0.0, [] if self.start is None else [f"{self.start:.12g}"]
        for span, kind, value in self.spans:
            steps = seconds(span) / seconds(every) if span else 1
            assert steps == int(steps) > 0, f"{span} is not a number of steps of {every}"
            times = int(steps) - 1
            if kind == "misses":
                parts.append(f"_x{times + 1}")
                continue
            step = {"rises": value * seconds(every) / 60, "moves": (value - now) / steps}.get(kind, 0.0)
            first = now + step if step or kind in {"rises", "moves"} else value
            parts.append(f"{first:.12g}{step:+.12g}x{times}" if times else f"{first:.12g}")
            now = first + step * times
        return " ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One story: what the series do, and at which times the alert fires (how many of it)."""

    alert: str
    sentence: str
    series: Mapping[str, Line]
    fires: Mapping[str, int]
    every: str = "15s"
    """How often there is a sample, and how often rules are evaluated."""
    settings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.alert}: {self.sentence}"

    @property
    def fires_and_resolves(self) -> tuple[bool, bool]:
        """Tell whether the story has a moment at which the alert begins, and one at which it ends."""
        counts = [self.fires[at] for at in sorted(self.fires, key=seconds)]
        pairs = list(pairwise(counts))
        return any(not a and b for a, b in pairs), any(a and not b for a, b in pairs)


def counter(*spans: tuple[str, float], start: float = 0.0) -> Line:
    """Let a counter rise by so many a minute, span by span."""
    line = Line(start=start)
    for span, per_minute in spans:
        line = line.rises(span, per_minute)
    return line


def gauge(*spans: tuple[str, float]) -> Line:
    """Let a gauge hold one value after the other."""
    line = Line()
    for span, value in spans:
        line = line.stays(span, value)
    return line


@cache
def all_rules(settings: tuple[str, ...]) -> tuple[dict[str, Recording], dict[str, Alert], tuple[Group, ...]]:
    values = load_values(settings=settings)
    groups = (*recording_groups(Buckets.CLASSIC, values), *alert_groups(values))
    rules = [rule for group in groups for rule in group.rules]
    recordings = {rule.record: rule for rule in rules if isinstance(rule, Recording)}
    return recordings, {rule.name: rule for rule in rules if isinstance(rule, Alert)}, groups


def rules_for(alert: str, given: Iterable[str], settings: tuple[str, ...]) -> str:
    """Render the rule file an alert needs: itself and what it reads, but for what the story gives as recorded."""
    recordings, alerts, groups = all_rules(settings)
    given = {re.split(r"[{ ]", name)[0] for name in given}
    wanted: set[str] = set()
    texts = [alerts[alert].expr, *alerts[alert].annotations.values()]
    while texts:
        names = set(re.findall(r"claude:[a-z0-9_:]+", texts.pop()))
        assert names <= recordings.keys(), f"{alert} reads what nobody records: {names - recordings.keys()}"
        new = names - given - wanted
        wanted |= new
        texts += [recordings[name].expr for name in new]

    def keep(rule: Rule) -> bool:
        return rule.name == alert if isinstance(rule, Alert) else rule.record in wanted

    kept = (Group(name=g.name, interval=g.interval, rules=tuple(filter(keep, g.rules))) for g in groups)
    return as_prometheus(group for group in kept if group.rules)


def run(folder: Path, rules: str, test: Mapping[str, object], every: str) -> tuple[bool, str]:
    """Run one test of promtool; give whether it passed, and what it said."""
    (folder / "rules.yaml").write_text(rules)
    whole = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": every,
        # Else promtool takes the groups in a random order, and a rule may read what is recorded only after it.
        "group_eval_order": re.findall(r"^ *- name: (\S+)$", rules, re.MULTILINE),
        "tests": [test],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(whole, sort_keys=False, width=10_000))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode == 0, done.stdout + done.stderr


@cache
def windows_are_left_open() -> bool:
    """Tell whether this is Prometheus 3: a window there leaves out the sample that is exactly as old as it is long."""
    test = {
        "interval": "15s",
        "input_series": [{"series": "x", "values": "1x8"}],
        "promql_expr_test": [
            {"expr": "count_over_time(x[1m])", "eval_time": "2m", "exp_samples": [{"labels": "{}", "value": 4}]}
        ],
    }
    with TemporaryDirectory() as folder:
        return run(Path(folder), as_prometheus([]), test, "15s")[0]


def check(case: Case, folder: Path) -> None:
    """Let promtool judge a case.

    The cases put samples exactly on the edges of windows. Where windows are left open, what begins or ends may show
    one evaluation sooner, and only that: a case that never fires must not fire there either.
    """
    firing = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}) or vector(0)'
    sooner = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}} offset {case.every}) or vector(0)'
    lenient = any(case.fires.values()) and windows_are_left_open()

    def expected(at: str, count: int) -> dict[str, object]:
        if not lenient:
            return {"expr": firing, "eval_time": at, "exp_samples": [{"labels": "{}", "value": count}]}
        either = f"sgn((({firing}) == bool {count}) + (({sooner}) == bool {count}))"
        return {"expr": either, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}]}

    test = {
        "name": case.sentence,
        "interval": case.every,
        "input_series": [{"series": name, "values": line.written(case.every)} for name, line in case.series.items()],
        "promql_expr_test": [expected(at, count) for at, count in case.fires.items()],
    }
    passed, said = run(folder, rules_for(case.alert, case.series, case.settings), test, case.every)
    assert passed, f"{case}\n{said}"
