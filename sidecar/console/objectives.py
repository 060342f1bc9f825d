"""How the last hour, or a part of it, stands to the objectives: bad calls against what they allow.

It says nothing of the objective's whole period, which only a store such as Prometheus remembers.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from sidecar.alerts.export import default_slos
from sidecar.console.tally import Key, Tally, needed
from sidecar.model import AVAILABILITY_FAILURES, NEVER_COUNTED, Outcome, Phase
from sidecar.slo import Calls, Kind, Slo, load
from sidecar.telemetry import HistogramSnapshot

_TIMES: Final = {Kind.LATENCY: needed(Phase.DEADLINE), Kind.FIRST_TOKEN: Tally.FIRST_TOKEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One objective."""

    name: str
    description: str
    objective: float
    """In percent."""
    period: str
    counted: int
    """The calls it is about."""
    bad: float
    """Those that spend its budget; a fraction where only a share is known."""

    @property
    def good_ratio(self) -> float | None:
        """The share of good calls."""
        return 1 - self.bad / self.counted if self.counted else None

    @property
    def burn_rate(self) -> float | None:
        """How many times faster than the objective allows its budget is being spent; 1 just keeps it."""
        return self.bad / self.counted / (1 - self.objective / 100) if self.counted else None


@cache
def default_objectives() -> tuple[Slo, ...]:
    """Load the objectives a team starts with."""
    return tuple(load(default_slos())[0])


def standings(slos: Iterable[Slo], tallies: Mapping[Key, Tally]) -> list[Standing]:
    """Count for each objective that is about our own metrics."""
    return [_standing(slo, slo.indicator, tallies) for slo in slos if isinstance(slo.indicator, Calls)]


def _standing(slo: Slo, calls: Calls, tallies: Mapping[Key, Tally]) -> Standing:
    uncounted = NEVER_COUNTED if calls.count_rate_limited else NEVER_COUNTED | {Outcome.RATE_LIMITED}
    failures = {Outcome.TIMEOUT} if calls.kind is Kind.TIMEOUT else AVAILABILITY_FAILURES - uncounted
    counted, bad = 0, 0.0
    for key, tally in tallies.items():
        if not _selected(key, calls) or (calls.kind is Kind.FIRST_TOKEN and not key.stream):
            continue
        counted += sum(count for outcome, count in tally.outcomes.items() if outcome not in uncounted)
        bad += sum(tally.outcomes[outcome] for outcome in failures)
        if calls.threshold is not None:
            times = tally.times.get(_TIMES[calls.kind])
            snapshot = times.snapshot() if times else HistogramSnapshot()
            if snapshot.total:
                bad += tally.outcomes[Outcome.OK] * (1 - _within(snapshot, calls.threshold) / snapshot.total)
    return Standing(
        name=slo.id,
        description=slo.description,
        objective=slo.objective,
        period=slo.period,
        counted=counted,
        bad=bad,
    )


def _selected(key: Key, calls: Calls) -> bool:
    labels = {
        "endpoint": key.endpoint,
        "model": key.model,
        "profile": key.profile,
        "stream": "true" if key.stream else "false",
    }
    return all(labels[label] in values for label, values in calls.selector.items() if label in labels)


def _within(snapshot: HistogramSnapshot, threshold: float) -> int:
    """Count the values up to the threshold; those in its own bucket count as within."""
    per_octave = 1 << snapshot.schema
    bounds = [2.0 ** ((snapshot.low + position) / per_octave) for position in range(len(snapshot.counts))]
    return snapshot.zeros + sum(snapshot.counts[: bisect_right(bounds, threshold * (1 - 1e-9))])
