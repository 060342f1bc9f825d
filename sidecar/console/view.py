"""`View`: the last hour as one kind of observer saw it. Times are given to it; its owner holds a lock.

The graphs have a point every 5 s, of which the percentiles are those of the minute before it. Everything that is told
apart by model, profile and so on is kept by the minute, so that an hour of it stays small.
"""

import re
from collections import Counter, deque
from dataclasses import dataclass
from heapq import heappush, heappushpop
from typing import Final, NamedTuple

from sidecar.console.tally import MEASURED, Key, Tally
from sidecar.model import AVAILABILITY_FAILURES, CallRecord, Outcome, Phase, Profile, RetryResult
from sidecar.telemetry import SparseHistogram

STEP: Final = 5
MINUTE: Final = 60
HOUR: Final = 3600
WINDOWS: Final = (300, 900, HOUR)
"""Seconds that can be looked back over."""
DEFAULT_WINDOW: Final = 900
QUANTILES: Final = (0.5, 0.95, 0.99)
MAX_KEYS: Final = 40
"""Kinds of calls told apart in one minute; further ones go under ``other``."""
MAX_LISTED: Final = 20
"""Calls in a list of the slowest or of the failed."""
_SMOOTHED: Final = MINUTE // STEP
_KEPT: Final = 50
_FAILED: Final = AVAILABILITY_FAILURES | {Outcome.CLIENT_ERROR}
_TIMEOUT: Final = Outcome.TIMEOUT
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Point:
    """One step of the graphs."""

    at: int
    """The Unix second at which it begins."""
    outcomes: dict[Outcome, int]
    timed_out: dict[Phase, int]
    results: dict[RetryResult, int]
    duration: tuple[float, ...] | None
    """p50, p95 and p99 of the calls of the minute that ends with this step."""
    first_token: tuple[float, ...] | None


class Listed(NamedTuple):
    """A call as lists show it: when, what, how long and how it ended; never content."""

    duration: float
    ended_at: float
    key: Key
    outcome: Outcome
    phase: Phase | None
    first_token: float | None
    attempts: int
    request_id: str | None


class _Step:
    """The step under way."""

    def __init__(self, number: int) -> None:
        self.number: Final = number
        self.outcomes: Final[Counter[Outcome]] = Counter()
        self.timed_out: Final[Counter[Phase]] = Counter()
        self.results: Final[Counter[RetryResult]] = Counter()
        self.duration: Final = SparseHistogram()
        self.first_token: Final = SparseHistogram()

    def call(self, record: CallRecord) -> None:
        outcome = record.outcome
        self.outcomes[outcome] += 1
        if outcome == _TIMEOUT and record.phase is not None:
            self.timed_out[record.phase] += 1
        if record.retry_result is not None:
            self.results[record.retry_result] += 1
        if outcome in MEASURED:
            self.duration.add(record.duration)
        if record.first_token is not None:
            self.first_token.add(record.first_token)


class _Minute:
    """One minute: its tallies, and its slowest calls."""

    def __init__(self, number: int) -> None:
        self.number: Final = number
        self.tallies: Final[dict[Key, Tally]] = {}
        self.slowest: Final[list[tuple[float, int, Listed]]] = []
        """A heap by duration; the number in between keeps calls that took equally long from being compared further."""

    def tally(self, key: Key) -> Tally:
        found = self.tallies.get(key)
        if found is None:
            if len(self.tallies) >= MAX_KEYS:
                key = Key("other", "other", Profile.DEFAULT, stream=False)
            found = self.tallies.setdefault(key, Tally())
        return found

    def is_slow(self, duration: float) -> bool:
        return len(self.slowest) < MAX_LISTED or duration > self.slowest[0][0]

    def list_slow(self, number: int, listed: Listed) -> None:
        entry = (listed.duration, number, listed)
        if len(self.slowest) < MAX_LISTED:
            heappush(self.slowest, entry)
        else:
            heappushpop(self.slowest, entry)


class View:
    """An hour of calls."""

    def __init__(self) -> None:
        self._points: Final[deque[Point]] = deque(maxlen=HOUR // STEP)
        self._steps: Final[deque[_Step]] = deque(maxlen=_SMOOTHED)
        """The last of them is under way."""
        self._minutes: Final[deque[_Minute]] = deque(maxlen=HOUR // MINUTE + 1)
        self._failed: Final[deque[Listed]] = deque(maxlen=_KEPT)
        self._sums: Final[dict[int, tuple[int, dict[Key, Tally]]]] = {}
        self.calls = 0
        """How many there ever were."""

    def call(self, at: float, key: Key, record: CallRecord) -> None:
        """Count a call that ended at ``at``; times never step back."""
        self.calls += 1
        self._step(at).call(record)
        minute = self._minute(at)
        minute.tally(key).call(record)
        failed = record.outcome in _FAILED
        if failed or minute.is_slow(record.duration):
            listed = _listed(at, key, record)
            minute.list_slow(self.calls, listed)
            if failed:
                self._failed.append(listed)

    def tally(self, at: float, key: Key) -> Tally:
        """Return where to count what else happened at ``at``."""
        return self._minute(at).tally(key)

    def points(self, since: float, now: float) -> list[Point]:
        """Return the steps that ended after ``since``, the one under way included; idle steps have no point."""
        oldest = max(since, now - HOUR)
        points = [point for point in self._points if point.at + STEP > oldest]
        if self._steps and (self._steps[-1].number + 1) * STEP > oldest:
            points.append(self._point())
        return points

    def sums(self, seconds: int, now: float) -> dict[Key, Tally]:
        """Add up the minute under way and the whole minutes before it, as many as make up ``seconds``."""
        current = int(now // MINUTE)
        known = self._sums.get(seconds)
        if known is None or known[0] != current:
            known = self._sums[seconds] = (current, {})
            for minute in self._since(current - seconds // MINUTE):
                if minute.number < current:
                    _add(known[1], minute)
        # What is over stays as it is, and is added up once a minute.
        whole: dict[Key, Tally] = {}
        for key, tally in known[1].items():
            whole[key] = Tally()
            whole[key].merge(tally)
        if self._minutes and self._minutes[-1].number >= current:
            _add(whole, self._minutes[-1])
        return whole

    def slowest(self, seconds: int, now: float) -> list[Listed]:
        """List the slowest calls of the same minutes, the slowest first."""
        first = int(now // MINUTE) - seconds // MINUTE
        listed = [each for minute in self._since(first) for *_, each in minute.slowest]
        return sorted(listed, key=lambda each: -each.duration)[:MAX_LISTED]

    def failed(self, seconds: int, now: float) -> list[Listed]:
        """List the calls of the same minutes that failed last, the latest first."""
        first = (now // MINUTE) * MINUTE - seconds
        return [each for each in reversed(self._failed) if each.ended_at >= first][:MAX_LISTED]

    def _since(self, number: int) -> list[_Minute]:
        return [minute for minute in self._minutes if minute.number >= number]

    def _step(self, at: float) -> _Step:
        number = int(at) // STEP
        steps = self._steps
        if steps and steps[-1].number >= number:
            return steps[-1]
        if steps:
            self._points.append(self._point())
        while steps and steps[0].number <= number - _SMOOTHED:
            steps.popleft()
        steps.append(_Step(number))
        return steps[-1]

    def _minute(self, at: float) -> _Minute:
        number = int(at) // MINUTE
        minutes = self._minutes
        if minutes and minutes[-1].number >= number:
            return minutes[-1]
        while minutes and minutes[0].number < number - HOUR // MINUTE:
            minutes.popleft()
        minutes.append(_Minute(number))
        return minutes[-1]

    def _point(self) -> Point:
        step = self._steps[-1]
        smoothed = [each for each in self._steps if each.number > step.number - _SMOOTHED]
        return Point(
            step.number * STEP,
            dict(step.outcomes),
            dict(step.timed_out),
            dict(step.results),
            _quantiles([each.duration for each in smoothed]),
            _quantiles([each.first_token for each in smoothed]),
        )


def _listed(at: float, key: Key, record: CallRecord) -> Listed:
    request_id = record.request_id if _REQUEST_ID.fullmatch(record.request_id or "") else None
    outcome, phase = record.outcome, record.phase
    return Listed(record.duration, at, key, outcome, phase, record.first_token, record.attempts, request_id)


def _quantiles(histograms: list[SparseHistogram]) -> tuple[float, ...] | None:
    whole = SparseHistogram()
    for histogram in histograms:
        whole.merge(histogram.snapshot())
    snapshot = whole.snapshot()
    return tuple(snapshot.quantile(q) for q in QUANTILES) if snapshot.total else None


def _add(sums: dict[Key, Tally], minute: _Minute) -> None:
    for key, tally in minute.tallies.items():
        sums.setdefault(key, Tally()).merge(tally)
