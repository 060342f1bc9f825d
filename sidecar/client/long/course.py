"""The course of one long answer: what to ask next, and after each turn whether to go on, to end or to fail. Pure."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any, Final

from sidecar.client.long.joined import Event, Joined
from sidecar.client.long.joint import messages_after
from sidecar.client.long.results import Ending, Limit, Turn
from sidecar.client.long.resume import Resume
from sidecar.model import OK, TRUNCATED, UNPARSABLE, Outcome, Phase, Stage, Verdict, classify_exception
from sidecar.policy import DeadlineExceeded, deadline
from sidecar.wire.message import MalformedStream

__all__ = ["Course", "Next"]

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


class Course:
    """One long answer under way."""

    def __init__(self, create: Mapping[str, Any], bounds: Resume, *, shown: bool) -> None:
        self._create = dict(create)
        if "messages" in self._create:
            self._create["messages"] = list(self._create["messages"])  # it may be an iterator, and is needed again
        self._bounds = bounds
        self._deadline = None
        if bounds.deadline is not None:
            with deadline(bounds.deadline) as limit:  # to make it: it is entered again for each call
                self._deadline = limit
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
            asked["messages"] = messages_after(asked["messages"], self._sent, self._bounds.prompt)
        left = self._tokens_left()
        if left is not None and isinstance(asked.get(_CUT), int):
            asked[_CUT] = min(asked[_CUT], left)
        return asked

    def seconds(self) -> float | None:
        """Seconds that are left for the next call; raises ``DeadlineExceeded`` when they are too few."""
        return None if self._deadline is None else self._deadline.allot(last=True)

    def scope(self) -> AbstractContextManager[object]:
        """Make a call part of the chain that has one deadline."""
        return nullcontext() if self._deadline is None else self._deadline.last()

    def take(self, event: Event) -> Iterator[Event]:
        """Take the next event of the turn; give what follows of it. Raises ``DeadlineExceeded`` when time is up."""
        limit = self._deadline
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
        limit = self._deadline
        if len(self.turns) >= self._bounds.max_turns:
            return Limit.TURNS
        left = self._tokens_left()
        if left is not None and left <= self._thinking_budget():
            return Limit.TOKENS
        if limit is not None and limit.remaining() < max(limit.floor, 1e-9):
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
        form = config.get("format") if isinstance(config, Mapping) else None
        return bool(form or self._create.get("output_format"))  # as the beta API called it


def _verdict(error: Exception | None) -> Verdict:
    if error is None:
        return TRUNCATED  # the SDK takes an end without `message_stop` for a good one
    return UNPARSABLE if _is_unreadable(error) else classify_exception(error, Stage.STREAMING)


def _is_unreadable(error: Exception) -> bool:
    """Whether what came could not be decoded. Of Bedrock's framing it is botocore that says so."""
    return isinstance(error, MalformedStream | UnicodeDecodeError) or (
        type(error).__module__.startswith("botocore.") and not hasattr(error, "status_code")
    )
