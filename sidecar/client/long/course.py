"""The course of one long answer: what to ask next, and after each turn whether to go on, to end or to fail. Pure."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Self

from sidecar.client.long.joined import Event, Joined
from sidecar.client.long.joint import CONTINUE, messages_after
from sidecar.client.long.results import Ending, Limit, Turn
from sidecar.model import OK, TRUNCATED, UNPARSABLE, Outcome, Phase, Stage, Verdict, classify_exception
from sidecar.policy import Deadline, DeadlineExceeded, deadline
from sidecar.policy.check import Faults
from sidecar.wire.message import MalformedStream

__all__ = ["MAX_TURNS", "Bounds", "Course", "Next"]

MAX_TURNS: Final = 4
"""So many calls an answer may take, unless more are allowed."""

_MOST_TURNS: Final = 1_000
_MOST_TOKENS: Final = 1 << 53
_CHARACTERS_A_TOKEN: Final = 4
_CUT: Final = "max_tokens"
_WORTH_GOING_ON: Final = frozenset(
    {
        Outcome.TIMEOUT,
        Outcome.RATE_LIMITED,
        Outcome.OVERLOADED,
        Outcome.SERVER_ERROR,
        Outcome.CONNECTION_ERROR,
        Outcome.TRUNCATED,
    }
)


class Next(Enum):
    """What follows a turn."""

    GO_ON = "go on"
    END = "end"
    """The answer is whole, or as much of it as the limits allow."""
    FAIL = "fail"
    """It broke off for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far a long answer may go."""

    max_turns: int
    max_total_tokens: int | None
    """Of output, in all turns."""
    deadline: Deadline | None

    @classmethod
    def of(cls, *, max_turns: int, max_total_tokens: int | None, seconds: float | None) -> Self:
        """Check what the application asks for; the time begins to run now."""
        faults = Faults("bounds of a long answer")
        faults.whole("max_turns", max_turns, least=1, most=_MOST_TURNS)
        faults.whole("max_total_tokens", max_total_tokens, least=1, most=_MOST_TOKENS, optional=True)
        faults.number("deadline", seconds, above=0, optional=True)
        faults.stop_if_any()
        if seconds is None:
            return cls(max_turns=max_turns, max_total_tokens=max_total_tokens, deadline=None)
        with deadline(seconds) as limit:  # to make it: it is entered again for each call
            return cls(max_turns=max_turns, max_total_tokens=max_total_tokens, deadline=limit)


class Course:
    """One long answer under way."""

    def __init__(self, create: Mapping[str, Any], bounds: Bounds, *, shown: bool, prompt: str = CONTINUE) -> None:
        self._create = dict(create)
        if "messages" in self._create:
            self._create["messages"] = list(self._create["messages"])  # it may be an iterator, and is needed again
        self._bounds = bounds
        self._prompt = prompt
        self._sent: tuple[Mapping[str, Any], ...] = ()
        self._spent = 0
        self._told = 0
        self.joined = Joined(shown=shown)
        self.turns: tuple[Turn, ...] = ()
        self.limit: Limit | None = None
        self.verdict: Verdict = OK
        """What the last turn was."""

    def ask(self) -> dict[str, Any]:
        """Give the parameters of the next call."""
        asked = dict(self._create)
        if "messages" in asked:
            asked["messages"] = messages_after(asked["messages"], self._sent, self._prompt)
        left = self._tokens_left()
        if left is not None and isinstance(asked.get(_CUT), int):
            asked[_CUT] = min(asked[_CUT], left)
        return asked

    def seconds(self) -> float | None:
        """Seconds that are left for the next call; raises ``DeadlineExceeded`` when they are too few."""
        return None if self._bounds.deadline is None else self._bounds.deadline.allot(last=True)

    def scope(self) -> AbstractContextManager[object]:
        """Make a call part of the chain that has one deadline."""
        return nullcontext() if self._bounds.deadline is None else self._bounds.deadline.last()

    def take(self, event: Event) -> Iterator[Event]:
        """Take the next event of the turn; give what follows of it. Raises ``DeadlineExceeded`` when time is up."""
        limit = self._bounds.deadline
        if limit is not None and limit.remaining() <= 0:
            raise DeadlineExceeded(limit.remaining(), 0.0)
        yield from self.joined.take(event)

    def turn_over(self, error: Exception | None, request_id: str | None) -> Next:
        """Say what follows, now that a turn has ended, or was broken by ``error``."""
        joined = self.joined
        self.verdict = OK if joined.complete else _verdict(error)
        ending = self._ending()
        turn = Turn(
            ending=ending,
            outcome=self.verdict.outcome,
            stop_reason=joined.stop_reason,
            error_type=self.verdict.error_type,
            usage=joined.turn_usage,
            request_id=request_id,
        )
        self.turns = (*self.turns, turn)
        self._count(turn)
        return Next.END if ending is Ending.WHOLE else self._onward(ending)

    def _ending(self) -> Ending:
        if self.verdict.outcome is not Outcome.OK:
            return Ending.BROKEN
        return Ending.MAX_TOKENS if self.joined.stop_reason == _CUT else Ending.WHOLE

    def _onward(self, ending: Ending) -> Next:
        broken = ending is Ending.BROKEN
        if broken and (self.verdict.outcome not in _WORTH_GOING_ON or self.verdict.phase is Phase.DEADLINE):
            return Next.FAIL
        onward = None if self._is_formatted() else self.joined.continuation()
        if onward is None or not (onward.sent or broken):
            self.limit = Limit.CONTENT
        else:
            self.limit = self._limit()
        if onward is None or self.limit is not None:
            return Next.FAIL if broken else Next.END
        self._sent = tuple(onward.sent)
        self.joined.go_on(onward)
        return Next.GO_ON

    def _limit(self) -> Limit | None:
        bounds = self._bounds
        if len(self.turns) >= bounds.max_turns:
            return Limit.TURNS
        left = self._tokens_left()
        if left is not None and left <= self._thinking_budget():
            return Limit.TOKENS
        if bounds.deadline is not None and bounds.deadline.remaining() < max(bounds.deadline.floor, 1e-9):
            return Limit.DEADLINE
        return None

    def _count(self, turn: Turn) -> None:
        """Count what a turn has put out; of one that did not come to tell it, what its text must have taken."""
        told = 0 if turn.usage is None else turn.usage.output
        length = len(self.joined.text)
        estimate = max(0, length - self._told) // _CHARACTERS_A_TOKEN if turn.ending is Ending.BROKEN else 0
        self._told = length
        self._spent += max(told, estimate)

    def _tokens_left(self) -> int | None:
        most = self._bounds.max_total_tokens
        return None if most is None else most - self._spent

    def _thinking_budget(self) -> int:
        thinking = self._create.get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
        return budget if isinstance(budget, int) else 0

    def _is_formatted(self) -> bool:
        """Whether the answer has a format of its own, which a part of it cannot have."""
        config = self._create.get("output_config")
        return isinstance(config, Mapping) and bool(config.get("format"))


def _verdict(error: Exception | None) -> Verdict:
    if error is None:
        return TRUNCATED  # the SDK takes an end without `message_stop` for a good one
    return UNPARSABLE if isinstance(error, MalformedStream) else classify_exception(error, Stage.STREAMING)
