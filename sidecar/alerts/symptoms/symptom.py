"""What every symptom alert is made of, before links, labels and severities are added."""

from dataclasses import dataclass
from enum import Enum

from sidecar.alerts.values import AlertValues
from sidecar.rules.promql import more_than, ratio


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


def share_of_many(t: AlertValues, part: str, whole: str) -> str:
    """Compare a share with its threshold where the part alone is more than ``count`` events, reading each once."""
    many = f"({more_than(part, t['count'])})"
    return f"{ratio(many, whole)}\n> {t['ratio']}"
