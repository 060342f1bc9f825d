"""What every symptom alert is made of, before links, labels and severities are added."""

from dataclasses import dataclass
from enum import Enum

from sidecar.alerts.values import AlertValues
from sidecar.rules import Recording
from sidecar.rules.promql import MODEL, by, count, more_than, ratio, series


class Pace(Enum):
    """How soon an alert must be told; it decides how often it is evaluated."""

    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """The parts of an alert that are its own."""

    expr: str
    summary: str
    description: str
    dashboard: str
    """The uid of the dashboard that shows it."""
    pace: Pace = Pace.FAST
    reads: tuple[Recording, ...] = ()
    """What is recorded right before the alerts, because several of them read it, or one does several times."""


def by_outcome(what: str, window: str) -> Recording:
    """Count calls or attempts of each model by their outcome, for `ended` to take parts of."""
    expr = count((*MODEL, "outcome"), f"claude_{what}_total", window)
    return Recording(record=f"claude:{what}_by_outcome:count_{window}", expr=expr)


def ended(counts: Recording, matchers: str = "", level: tuple[str, ...] = MODEL) -> str:
    """Count those that ended so."""
    return by(level, series(counts.record, matchers))


def share_of_many(t: AlertValues, part: str, whole: str) -> str:
    """Compare a share with its threshold where the part alone is more than ``count`` events, reading each once."""
    many = f"({more_than(part, t['count'])})"
    return f"{ratio(many, whole)}\n> {t['ratio']}"
