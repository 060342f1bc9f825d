"""What an objective is, whichever file format it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.rules import Node


class Kind(StrEnum):
    """What an objective of our own form promises."""

    AVAILABILITY = "availability"
    LATENCY = "latency"
    FIRST_TOKEN = "first_token"  # noqa: S105  # of an answer, not a password
    TIMEOUT = "timeout"

    @property
    def timed(self) -> bool:
        """Whether it needs a threshold."""
        return self in {Kind.LATENCY, Kind.FIRST_TOKEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Our own metrics: which calls count, and what a good one is."""

    kind: Kind
    selector: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    threshold: float | None = None
    """Seconds, for the kinds that are about time."""
    count_rate_limited: bool = True
    """Whether a 429 spends budget; otherwise it is on neither side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Anybody's metrics: two queries over ``{{.window}}``."""

    error: str
    total: str
    good: bool = False
    """Whether ``error`` counts the good events instead of the bad ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A query over ``{{.window}}`` that gives the share of errors itself."""

    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One of an objective's two alerts."""

    severity: str | None = None
    hold: str = "0s"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """A service level objective."""

    service: str
    name: str
    objective: float
    """In percent."""
    indicator: Calls | Events | Ratio
    period: str = "30d"
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    alert: str = "ClaudeErrorBudgetBurn"
    page: Notice | None = field(default_factory=Notice)
    ticket: Notice | None = field(default_factory=Notice)
    minimum_calls: float = 0
    """Alerts stay silent while fewer calls than this came in their long window."""
    minimum_failures: float = 0
    """The same for failures: three slow calls at night wake nobody."""
    origin: str = "sidecar/v1"
    line: int = 1
    places: Mapping[str, int] = field(default_factory=dict)
    """The lines of its keys, for faults found later."""

    @property
    def id(self) -> str:
        """What names it everywhere."""
        return f"{self.service}-{self.name}"

    def at(self, key: str) -> int:
        """Return the line a fault about ``key`` belongs to."""
        return self.places.get(key, self.line)


def lines_of(found: Mapping[str, Node]) -> dict[str, int]:
    """Remember where each key stood."""
    return {key: node.line for key, node in found.items()}
