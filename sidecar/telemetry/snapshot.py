"""Gauge snapshots: what one process knows beyond its records, as plain data, and the merging of several processes'.

A snapshot comes from another process, so nothing in it is trusted: what does not fit the families is refused whole.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.model import BreakerState, LimitKind, Phase, Profile, Source
from sidecar.telemetry import families as f
from sidecar.telemetry.families import Family, Kind, Merge

SILENCE: Final = 5.0
"""Seconds without a snapshot after which a process's gauges vanish."""
MAX_PROCESSES: Final = 1024
MAX_SAMPLES: Final = 5_000
_MAX_NAME: Final = 128

SHARED_GAUGES: Final = (
    f.RETRY_BUDGET,
    f.BREAKER_STATE,
    f.BREAKER_FAILURE_RATIO,
    f.BREAKER_REOPENS,
    f.IN_FLIGHT,
    f.IN_FLIGHT_OLDEST,
    f.IN_FLIGHT_SILENT,
    f.TIMEOUT_SETTING,
    f.RATELIMIT_LIMIT,
    f.RATELIMIT_REMAINING,
    f.RATELIMIT_RESET,
)
SHARED_COUNTERS: Final = (f.BREAKER_TRANSITIONS, f.BREAKER_REJECTIONS, f.DROPPED, f.INTERNAL_ERRORS)
"""The counters that no record feeds: without them a breaker's history would stay in its process."""

_FAMILIES: Final = {family.name: family for family in (*SHARED_GAUGES, *SHARED_COUNTERS)}
_MERGES: Final = {family.name: family.merge for family in (*f.FAMILIES, *f.UNEXPOSED)}
_CLOSED: Final[dict[str, frozenset[str]]] = {
    "source": frozenset(Source),
    "state": frozenset(BreakerState),
    "from": frozenset(BreakerState),
    "to": frozenset(BreakerState),
    "profile": frozenset(Profile),
    "phase": frozenset(Phase),
    "kind": frozenset(LimitKind),
}
"""Labels whose values are known; those of all others go through the label guard."""

Labels = tuple[str, ...]
Key = tuple[str, Labels]
"""A family's name and label values."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series at one moment."""

    family: str
    """A family's name, such as ``claude_in_flight``."""
    labels: Labels
    """The label values, in the order of the family's labels."""
    value: float
    at: float = 0.0
    """When it was set, in Unix seconds: of families whose newest value counts, the highest wins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeSnapshot:
    """Everything a process knows that no record tells."""

    process: str
    """Names the process for its lifetime; a forked child gets a name of its own."""
    gauges: tuple[Sample, ...] = ()
    counters: tuple[Sample, ...] = ()
    """Running totals of the counters no record feeds (breaker transitions, drops, ...)."""


def merged(samples: Iterable[Sample]) -> dict[Key, Sample]:
    """Make one sample of those with the same family and labels, as the family says."""
    result: dict[Key, Sample] = {}
    for sample in samples:
        key = (sample.family, sample.labels)
        known = result.get(key)
        result[key] = sample if known is None else _pair(_MERGES[sample.family], known, sample)
    return result


def _pair(merge: Merge, one: Sample, two: Sample) -> Sample:
    match merge:
        case Merge.SUM:
            return Sample(one.family, one.labels, one.value + two.value, max(one.at, two.at))
        case Merge.MAX:
            return max(one, two, key=lambda sample: sample.value)
        case Merge.MIN:
            return min(one, two, key=lambda sample: sample.value)
        case Merge.NEWEST:
            return max(one, two, key=lambda sample: sample.at)


@dataclass(slots=True)
class _Process:
    heard: float
    gauges: tuple[Sample, ...]
    counters: dict[Key, float]


class Peers:
    """The latest snapshot of each other process. Has no lock: its owner holds one."""

    def __init__(self, clock: Callable[[], float], admit: Callable[[str, str], str]) -> None:
        self._clock: Final = clock
        self._admit: Final = admit
        self._processes: Final[OrderedDict[str, _Process]] = OrderedDict()

    def absorb(self, snapshot: GaugeSnapshot) -> list[tuple[Family, Labels, float]]:
        """Keep a process's newest snapshot, and return by how much which counters rose since its last one.

        Raises ValueError or TypeError when something in it does not fit.
        """
        if not snapshot.process or len(snapshot.process) > _MAX_NAME:
            raise ValueError("a snapshot names its process")
        if len(snapshot.gauges) + len(snapshot.counters) > MAX_SAMPLES:
            raise ValueError(f"a snapshot holds at most {MAX_SAMPLES} samples")
        gauges = tuple(merged(self._checked(sample, Kind.GAUGE) for sample in snapshot.gauges).values())
        totals = {
            key: sample.value
            for key, sample in merged(self._checked(sample, Kind.COUNTER) for sample in snapshot.counters).items()
        }
        before = self._processes.pop(snapshot.process, None)
        known = before.counters if before else {}
        # Datagrams may overtake each other: a total never falls.
        rises = [
            (f.BY_NAME[family], labels, total - known.get((family, labels), 0.0))
            for (family, labels), total in totals.items()
            if total > known.get((family, labels), -1.0)
        ]
        counters = known | {key: max(total, known.get(key, 0.0)) for key, total in totals.items()}
        self._processes[snapshot.process] = _Process(self._clock(), gauges, counters)
        if len(self._processes) > MAX_PROCESSES:
            self._processes.popitem(last=False)
        return rises

    def gauges(self) -> Iterator[Sample]:
        """Yield the gauges of every process heard of in the last seconds."""
        now = self._clock()
        for process in self._processes.values():
            # A silent process's totals stay known, lest they be counted again when it speaks again.
            if now - process.heard > SILENCE:
                process.gauges = ()
            yield from process.gauges

    def clear(self) -> None:
        """Forget every process."""
        self._processes.clear()

    def _checked(self, sample: Sample, kind: Kind) -> Sample:
        family = _FAMILIES.get(sample.family)
        if family is None or family.kind is not kind:
            raise ValueError("a snapshot holds only the families that no record feeds")
        if not (math.isfinite(sample.value) and math.isfinite(sample.at) and sample.value >= 0):
            raise ValueError("a sample's numbers are finite, and not negative")
        labels = tuple(self._label(label, value) for label, value in zip(family.labels, sample.labels, strict=True))
        return Sample(family.name, labels, float(sample.value), float(sample.at))

    def _label(self, label: str, value: str) -> str:
        known = _CLOSED.get(label)
        if known is None:
            return self._admit(label, value)
        if value not in known:
            raise ValueError(f"{label!r} is none of the words it may be")
        return value
