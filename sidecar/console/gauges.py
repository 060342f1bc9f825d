"""What is true right now, read from the gauges: breakers, calls under way, rate limits, timeouts in force."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sidecar.model import REJECTING, BreakerState, LimitKind, Phase, Profile, Source
from sidecar.telemetry import Sample
from sidecar.telemetry import families as f

WORST_FIRST: Final = (
    BreakerState.FORCED_OPEN,
    BreakerState.OPEN,
    BreakerState.HALF_OPEN,
    BreakerState.DISABLED,
    BreakerState.OBSERVE_ONLY,
    BreakerState.CLOSED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerNow:
    """A breaker, over all processes that have it."""

    name: str
    state: BreakerState
    """The worst of them."""
    processes: dict[BreakerState, int]
    """How many are in which state."""
    reason: str | None
    """Why it opened."""
    reopens_at: float | None
    """When it tries again, in Unix seconds; None when nobody knows, or when it needs a reset."""
    failure_ratio: float | None


@dataclass(frozen=True, slots=True)
class LoadNow:
    """Calls under way of one kind."""

    endpoint: str
    model: str
    calls: int
    oldest: float
    silent: float


@dataclass(frozen=True, slots=True)
class LimitNow:
    """A rate limit, as the newest answer told it."""

    kind: LimitKind
    limit: float | None
    remaining: float | None
    reset_at: float | None

    @property
    def left(self) -> float | None:
        """The share that is left."""
        if not self.limit or self.remaining is None:
            return None
        return min(1.0, self.remaining / self.limit)


@dataclass(frozen=True, slots=True)
class Now:
    """All of it."""

    breakers: tuple[BreakerNow, ...] = ()
    loads: tuple[LoadNow, ...] = ()
    limits: tuple[LimitNow, ...] = ()
    settings: dict[tuple[Profile, Phase], float] | None = None
    lag: float | None = None


def read(samples: Iterable[Sample], sources: Collection[Source]) -> Now:
    """Take from all gauges what these sources tell."""
    own: defaultdict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
    lag = None
    for sample in samples:
        if sample.family == f.EVENT_LOOP_LAG.name:
            lag = sample.value
        elif sample.labels and sample.labels[-1] in sources:
            own[sample.family].append((sample.labels, sample.value))
    return Now(
        tuple(_breakers(own)),
        tuple(_loads(own)),
        tuple(_limits(own)),
        {(Profile(profile), Phase(phase)): value for (profile, phase, _), value in own[f.TIMEOUT_SETTING.name]},
        lag,
    )


_Own = defaultdict[str, list[tuple[tuple[str, ...], float]]]


def _breakers(own: _Own) -> list[BreakerNow]:
    states: defaultdict[str, dict[BreakerState, int]] = defaultdict(dict)
    for (name, state, _), count in own[f.BREAKER_STATE.name]:
        if count:
            states[name][BreakerState(state)] = states[name].get(BreakerState(state), 0) + int(count)
    ratios = {name: ratio for (name, _), ratio in own[f.BREAKER_FAILURE_RATIO.name]}
    # Of several processes the one that opens last; a breaker that only a reset closes comes before all.
    openings = {
        name: (reason, until)
        for (name, reason, _), until in sorted(own[f.BREAKER_REOPENS.name], key=lambda each: (each[1] == 0, each[1]))
    }
    found = []
    for name, counts in states.items():
        state = min(counts, key=WORST_FIRST.index)
        reason, until = openings.get(name, (None, 0.0)) if state in REJECTING else (None, 0.0)
        found.append(
            BreakerNow(
                name=name,
                state=state,
                processes=counts,
                reason=reason,
                reopens_at=until or None,
                failure_ratio=ratios.get(name),
            )
        )
    return sorted(found, key=lambda each: (WORST_FIRST.index(each.state), each.name))


def _loads(own: _Own) -> list[LoadNow]:
    oldest, silent = dict(own[f.IN_FLIGHT_OLDEST.name]), dict(own[f.IN_FLIGHT_SILENT.name])
    loads = [
        LoadNow(labels[0], labels[1], int(calls), oldest.get(labels, 0.0), silent.get(labels, 0.0))
        for labels, calls in own[f.IN_FLIGHT.name]
        if calls
    ]
    return sorted(loads, key=lambda load: (-load.silent, -load.oldest))


def _limits(own: _Own) -> list[LimitNow]:
    tables = [
        {kind: value for (kind, _), value in own[family.name]}
        for family in (f.RATELIMIT_LIMIT, f.RATELIMIT_REMAINING, f.RATELIMIT_RESET)
    ]
    return [
        LimitNow(kind, *(table.get(kind.value) for table in tables))
        for kind in LimitKind
        if any(kind.value in table for table in tables[:2])
    ]
