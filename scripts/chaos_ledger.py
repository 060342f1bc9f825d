"""What callers wrote down, laid beside what the proxy counted. Pure: knows neither processes nor files.

The proxy may have lost what a killed worker or supervisor had not reported, and nobody knows what became of an attempt
whose caller was killed. Such attempts are unsure: they may be counted or not. All others must be counted, once.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

_Thing = TypeVar("_Thing")

REPORTED: Final = 2.0
"""Seconds after which a worker has reported what has ended: twenty times what it takes, as the machine is busy."""
RETRY_WINDOW: Final = 12.0
"""Seconds after which the proxy has told of a call that was not tried again."""
_BROKEN: Final = frozenset({"broken", "refused"})
_NONE: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """From the signal until its victim is gone, or, of a supervisor, until the next serves and its workers are gone."""

    began: float
    ended: float
    whole: bool = False
    """A supervisor with all its workers: what it had counted is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt as its caller saw it."""

    call: str
    number: int
    began: float
    ended: float | None = None
    status: str = _NONE
    ending: str = ""
    """``whole``, ``short`` (without the last event), ``broken``, ``refused``, ``hung``, or the proxy's own error."""
    last: bool = False
    """Whether the call ended with it."""
    killed: bool = False
    """Whether the caller was killed."""

    @property
    def ok(self) -> bool:
        """Whether the whole answer came."""
        return self.status == "200" and self.ending == "whole"

    @property
    def unseen(self) -> bool:
        """Whether its caller saw nothing of an answer; the proxy may have."""
        return self.status == _NONE and self.ending in _BROKEN | {""}

    @property
    def counted_as(self) -> str:
        """The proxy's label ``status``: where it answered itself, it had no answer."""
        return self.status if self.ending in _BROKEN | {"whole", "short"} else _NONE


def read(log: str, *, killed: bool) -> Iterator[Attempt]:
    """Read what one caller wrote."""
    began: dict[tuple[str, int], float] = {}
    for line in log.splitlines():
        moment, kind, *words = line.split()
        if kind == "began":
            began[words[0], int(words[1])] = float(moment)
        elif kind == "ended":
            call, number, status, ending, then = words
            yield Attempt(
                call=call,
                number=int(number),
                began=began.pop((call, int(number))),
                ended=float(moment),
                status=status,
                ending=ending,
                last=then == "last",
                killed=killed,
            )
    for (call, attempt), moment_began in began.items():
        yield Attempt(call=call, number=attempt, began=moment_began, killed=killed)


def misbehaved(attempts: Iterable[Attempt], kills: Sequence[Kill]) -> Iterator[str]:
    """Tell of every call that hung, has no outcome, or was cut off though nothing that served it was killed."""
    calls = _by_call(attempts)
    for name, tries in calls.items():
        for each in tries:
            if each.ending == "hung":
                yield f"call {name}: attempt {each.number} hung"
            if each.unseen and each.ended is not None and not _met(each, kills, before=0.0):
                away = f"{_away(each, kills):.3f} s from the next kill"
                yield f"call {name}: attempt {each.number} was {each.ending}, {away}"
        outcomes = sum(each.last for each in tries)
        if outcomes > 1 or (outcomes == 0 and not tries[-1].killed):
            yield f"call {name} ended with {outcomes} outcomes"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What must have been counted, and what may have been."""

    sure: int
    most: int

    def __contains__(self, count: float) -> bool:
        return self.sure <= count <= self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What one life of the proxy may say of itself."""

    statuses: Mapping[str, Bounds]
    attempts: Bounds
    calls: Bounds
    ok: Bounds
    recovered: Bounds

    def wrong(self, total: Callable[..., float]) -> Iterator[str]:
        """Compare with the proxy's page: ``total`` adds up a family's series."""
        said = [
            *(
                (f"attempts of status {status}", bounds, total("claude_attempts_total", status=status))
                for status, bounds in self.statuses.items()
            ),
            ("attempts", self.attempts, total("claude_attempts_total")),
            ("calls", self.calls, total("claude_calls_total")),
            ("calls that ended well", self.ok, total("claude_calls_total", outcome="ok")),
            ("recovered calls", self.recovered, total("claude_retried_calls_total", result="recovered")),
        ]
        for what, bounds, count in said:
            if count not in bounds:
                yield f"{what}: {count:.0f} counted, there were {bounds.sure} to {bounds.most}"


def expected(attempts: Iterable[Attempt], kills: Sequence[Kill], *, now: float) -> Expected:
    """Say what the proxy's page must show now: what came since the supervisor was last killed, and what may have."""
    rebirths = [kill for kill in kills if kill.whole]
    since = rebirths[-1].began if rebirths else 0.0
    present = [each for each in attempts if each.ended is None or each.ended >= since]
    sure, unsure = _parted(present, lambda each: each.ended is not None and not _met(each, kills, before=REPORTED))
    known = Counter(each.counted_as for each in sure)
    maybe = Counter(each.counted_as for each in unsure if not each.unseen)
    any_status = sum(each.unseen for each in unsure)
    calls = list(_by_call(present).values())
    settled, open_ = _parted(calls, lambda tries: _settled(tries, set(sure), now))
    # What became of an unsure call's attempts may not have come together: each may be a call of its own.
    loose = sum(map(len, open_))
    well = sum(tries[-1].ok for tries in settled)
    recovered = sum(tries[-1].ok and len(tries) > 1 for tries in settled)
    return Expected(
        statuses={
            status: Bounds(known[status], known[status] + maybe[status] + any_status)
            for status in sorted(known.keys() | maybe.keys())
        },
        attempts=Bounds(len(sure), len(present)),
        calls=Bounds(len(settled), len(settled) + loose),
        ok=Bounds(well, well + loose),
        recovered=Bounds(recovered, recovered + loose),
    )


def endings(attempts: Iterable[Attempt]) -> dict[str, int]:
    """Count how attempts ended, for their callers."""
    return dict(Counter(f"{each.status} {each.ending or 'caller killed'}" for each in attempts).most_common())


def _settled(tries: Sequence[Attempt], sure: set[Attempt], now: float) -> bool:
    """Whether it is known how a call ended, and the proxy has told."""
    last = tries[-1]
    whole = [each.number for each in tries] == list(range(len(tries)))
    if not (whole and last.last and last.ended is not None and sure.issuperset(tries)):
        return False
    return last.ok or last.ended < now - RETRY_WINDOW


def _by_call(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    found: defaultdict[str, list[Attempt]] = defaultdict(list)
    for each in sorted(attempts, key=lambda each: each.number):
        found[each.call].append(each)
    return found


def _away(attempt: Attempt, kills: Sequence[Kill]) -> float:
    """Seconds between an attempt that has ended and the kill next to it."""
    ended = attempt.ended or attempt.began
    return min((max(attempt.began - kill.ended, kill.began - ended) for kill in kills), default=float("inf"))


def _met(attempt: Attempt, kills: Sequence[Kill], *, before: float) -> bool:
    """Whether one was killed who may have served it, or had ``before`` left to report it."""
    ended = float("inf") if attempt.ended is None else attempt.ended
    return any(attempt.began <= kill.ended and ended >= kill.began - before for kill in kills)


def _parted(things: Iterable[_Thing], test: Callable[[_Thing], bool]) -> tuple[list[_Thing], list[_Thing]]:
    parts: tuple[list[_Thing], list[_Thing]] = ([], [])
    for each in things:
        parts[not test(each)].append(each)
    return parts
