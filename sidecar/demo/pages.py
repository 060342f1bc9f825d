"""Numbers from the sidecars' own ``/metrics`` pages: what a newcomer sees without any other program.

The text format is read by hand: what is needed of it is a name, labels and a number a line.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sidecar.demo.loopback import opened

__all__ = ["Numbers", "Sample", "Window", "fetch", "samples"]

_LINE: Final = re.compile(r'^(\w+)\{?((?:\w+="(?:[^"\\]|\\.)*",?)*)\}? (\S+)$')
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SECONDS: Final = 5.0
_WINDOW: Final = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a page."""

    name: str
    labels: Mapping[str, str]
    value: float


def fetch(address: str) -> str:
    """Read the page of a sidecar; empty when nobody answers."""
    try:
        with opened(f"http://{address}/metrics", _SECONDS) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def samples(page: str) -> Iterator[Sample]:
    """Read the lines that have a number."""
    for line in page.splitlines():
        if found := _LINE.match(line):
            yield Sample(found[1], dict(_LABEL.findall(found[2])), float(found[3]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What has been seen so far, and how it goes now."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    phases: Mapping[str, int] = field(default_factory=dict)
    retried: Mapping[str, int] = field(default_factory=dict)
    breakers: Mapping[str, str] = field(default_factory=dict)
    """Breaker -> its state."""
    opened: int = 0
    """How often breakers opened."""
    rate: float = 0.0
    """Calls a second, of the last seconds."""
    timing_out: float = 0.0
    """The share of them that timed out."""
    p95: float | None = None
    """Of how long they took, within one classic bucket."""

    @property
    def calls(self) -> int:
        """All calls so far."""
        return sum(self.outcomes.values())


@dataclass(frozen=True, slots=True)
class _Reading:
    moment: float
    outcomes: Counter[str]
    buckets: Counter[float]


class Window:
    """Turns readings of the pages into numbers: totals, and rates over the last seconds."""

    def __init__(self, seconds: float = _WINDOW) -> None:
        self._seconds: Final = seconds
        self._past: Final[deque[_Reading]] = deque()

    def add(self, moment: float, pages: Iterable[str]) -> Numbers:
        """Take in what the pages say at a moment of a monotonic clock."""
        outcomes: Counter[str] = Counter()
        phases: Counter[str] = Counter()
        retried: Counter[str] = Counter()
        buckets: Counter[float] = Counter()
        breakers: dict[str, str] = {}
        opened = 0.0
        for page in pages:
            for each in samples(page):
                match each.name:
                    case "claude_calls_total":
                        outcomes[each.labels["outcome"]] += int(each.value)
                    case "claude_timeouts_total":
                        phases[each.labels["phase"]] += int(each.value)
                    case "claude_retried_calls_total":
                        retried[each.labels["result"]] += int(each.value)
                    case "claude_call_duration_seconds_bucket":
                        buckets[float(each.labels["le"])] += int(each.value)
                    case "claude_breaker_state" if each.value and breakers.get(each.labels["breaker"]) != "open":
                        breakers[each.labels["breaker"]] = each.labels["state"]
                    case "claude_breaker_transitions_total" if each.labels["to"] == "open":
                        opened += each.value
        now = _Reading(moment, outcomes, buckets)
        self._past.append(now)
        while len(self._past) > 1 and self._past[1].moment <= moment - self._seconds:
            self._past.popleft()
        then = self._past[0]
        calls = outcomes.total() - then.outcomes.total()
        timed_out = outcomes["timeout"] - then.outcomes["timeout"]
        return Numbers(
            outcomes=outcomes,
            phases=phases,
            retried=retried,
            breakers=breakers,
            opened=int(opened),
            rate=calls / (moment - then.moment) if moment > then.moment else 0.0,
            timing_out=timed_out / calls if calls > 0 else 0.0,
            p95=_quantile(0.95, {bound: count - then.buckets[bound] for bound, count in buckets.items()}),
        )


def _quantile(share: float, cumulative: Mapping[float, int]) -> float | None:
    """Interpolate as Prometheus does within a bucket."""
    bounds = sorted(cumulative)
    total = cumulative[bounds[-1]] if bounds else 0
    if total <= 0:
        return None
    rank, low, below = share * total, 0.0, 0
    for bound in bounds:
        count = cumulative[bound]
        if count >= rank:
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / max(count - below, 1)
        low, below = bound, count
    return None
