"""`Tally`: what the calls of one kind came to in some stretch of time. Knows records, no clock and no page.

It has no lock: its owner holds one.
"""

from collections import Counter
from threading import RLock
from typing import Final, NamedTuple

from sidecar.model import NEVER_COUNTED, AttemptRecord, CallRecord, Outcome, Phase, Profile, RetryResult
from sidecar.telemetry import SparseHistogram

_LOCK: Final = RLock()
"""Histograms want one; nobody contends for this, as their owner holds its own."""


MEASURED: Final = frozenset(Outcome) - NEVER_COUNTED - {Outcome.REJECTED}
"""Outcomes whose duration says something of how long an answer takes; the recorded percentiles leave out the same."""


class Key(NamedTuple):
    """What calls are told apart by."""

    endpoint: str
    model: str
    profile: Profile
    stream: bool


class Histograms(dict[str, SparseHistogram]):
    """Histograms by name, each made with its first value."""

    def __missing__(self, name: str) -> SparseHistogram:
        made = self[name] = SparseHistogram(_LOCK)
        return made


class Tally:
    """Counts and distributions; what is ``merge``d adds up."""

    __slots__ = ("attempts", "expired", "outcomes", "results", "timed_out", "times")

    CALL: Final = "call"
    """How long calls took, those in ``MEASURED``."""
    FIRST_TOKEN: Final = "first_token"  # noqa: S105  # of an answer, not a password

    def __init__(self) -> None:
        self.outcomes: Final[Counter[Outcome]] = Counter()
        self.timed_out: Final[Counter[Phase]] = Counter()
        """Calls that ended in a timeout, by phase."""
        self.expired: Final[Counter[Phase]] = Counter()
        """Waits that ran out, also within calls that a retry saved: one for each timeout of an attempt."""
        self.results: Final[Counter[RetryResult]] = Counter()
        self.attempts = 0
        self.times: Final = Histograms()

    @property
    def calls(self) -> int:
        """How many calls ended."""
        return self.outcomes.total()

    def call(self, record: CallRecord) -> None:
        """Count a call."""
        outcome = record.outcome
        self.outcomes[outcome] += 1
        self.attempts += record.attempts
        if record.retry_result is not None:
            self.results[record.retry_result] += 1
        if outcome == _TIMEOUT and record.phase is not None:
            self.timed_out[record.phase] += 1
        if record.waits and not record.waits[-1].completed and record.phase == Phase.DEADLINE:
            self.expired[Phase.DEADLINE] += 1  # no attempt saw this one
        times = self.times
        if outcome in MEASURED:
            times[self.CALL].add(record.duration)
        if outcome == _OK:
            times[_NEEDED_IN_ALL].add(record.duration)
        if record.first_token is not None:
            times[self.FIRST_TOKEN].add(record.first_token)

    def attempt(self, record: AttemptRecord) -> None:
        """Count what an attempt tells beyond its call: which waits ran out, and how much those that did not needed."""
        outcome = record.outcome
        if outcome == _TIMEOUT and record.phase is not None:
            self.expired[record.phase] += 1
            waited = record.max_gap if record.phase == Phase.STALL and record.max_gap else record.duration
            self.times[ran_out(record.phase)].add(waited)
        elif outcome == _OK:
            if record.first_byte is not None:
                self.times[_NEEDED_FIRST].add(record.first_byte)
            if record.max_gap is not None:
                self.times[_NEEDED_BETWEEN].add(record.max_gap)

    def merge(self, other: "Tally") -> None:
        """Add another's numbers."""
        self.outcomes.update(other.outcomes)
        self.timed_out.update(other.timed_out)
        self.expired.update(other.expired)
        self.results.update(other.results)
        self.attempts += other.attempts
        for name, times in other.times.items():
            self.times[name].merge(times.snapshot())


def needed(phase: Phase) -> str:
    """Name the times that successes needed in a phase."""
    return f"needed:{phase}"


def ran_out(phase: Phase) -> str:
    """Name the times after which waits in a phase ran out."""
    return f"ran out:{phase}"


# Nearly every record asks for these, and to find a member in its class takes longer than to count.
_OK: Final = Outcome.OK
_TIMEOUT: Final = Outcome.TIMEOUT
_NEEDED_IN_ALL: Final = needed(Phase.DEADLINE)
_NEEDED_FIRST: Final = needed(Phase.FIRST_BYTE)
_NEEDED_BETWEEN: Final = needed(Phase.STALL)


def merged(tallies: "list[Tally]") -> Tally:
    """Add tallies up."""
    whole = Tally()
    for tally in tallies:
        whole.merge(tally)
    return whole
