"""What every symptom alert is made of, before links, labels and severities are added."""

from dataclasses import dataclass
from enum import Enum


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
