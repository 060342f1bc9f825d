"""The errors of a client with a policy: each is one of the SDK's too, so that ``except`` clauses need no change.

Loads anthropic. No text of an error holds anything of a prompt or an answer: what had come of a broken answer is in
`StreamInterrupted.partial`, for the application to take, and its ``repr`` does not show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

import anthropic._exceptions as sdk  # where we may be loaded, `anthropic` itself is still loading
import httpx2

from sidecar.model import BreakerState, Outcome, Phase, Usage
from sidecar.policy import BreakerOpen as _BreakerOpen
from sidecar.policy import DeadlineExceeded as _DeadlineExceeded
from sidecar.wire.message import MessageBuilder

__all__ = [
    "BreakerOpen",
    "DeadlineExceeded",
    "PartialMessage",
    "StreamDeadlineExceeded",
    "StreamInterrupted",
    "StreamStalled",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialMessage:
    """As much of an answer as had come."""

    text: str = field(default="", repr=False)
    """All text blocks, joined."""
    content: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """The content blocks, as the API would have sent them; the input of a tool use that is not whole is empty."""
    message: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The whole message as data, its content included; empty when not even its beginning had come."""
    usage: Usage | None = None
    stop_reason: str | None = None

    @classmethod
    def of(cls, builder: MessageBuilder) -> Self:
        """Take what a message that is being put together has so far."""
        message = builder.message() if builder.started else {}
        return cls(
            text=builder.text,
            content=tuple(message.get("content", ())),
            message=message,
            usage=builder.usage,
            stop_reason=builder.stop_reason,
        )


NOTHING = PartialMessage()
"""Nothing of an answer had come, or nobody could look into it."""


class _Ours(sdk.APIConnectionError):
    """What the SDK sets on its errors, and pickling that does not depend on how an error is made."""

    def _tell(self, message: str, request: httpx2.Request) -> None:
        # Not through the constructors: along two lines of ancestors they take different arguments.
        Exception.__init__(self, message)
        self.message = message
        self.request = request
        self.body = None

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), *self.args), self.__dict__


def _revive(kind: type[_Ours], *args: object) -> _Ours:
    return kind.__new__(kind, *args)


class DeadlineExceeded(_Ours, sdk.APITimeoutError, _DeadlineExceeded):
    """The call's time ran out, or too little of it was left to send anything: an `anthropic.APITimeoutError`."""

    phase: Phase | None = Phase.DEADLINE

    def __init__(self, message: str, *, request: httpx2.Request, remaining: float = 0.0, floor: float = 0.0) -> None:
        self._tell(message, request)
        self.remaining = remaining
        self.floor = floor

    @classmethod
    def refusing(cls, refusal: _DeadlineExceeded, request: httpx2.Request) -> Self:
        """Say so of a call that was not sent."""
        return cls(str(refusal), request=request, remaining=refusal.remaining, floor=refusal.floor)


class BreakerOpen(_Ours, _BreakerOpen):
    """Nothing was sent, for the breaker rejects calls: an `anthropic.APIConnectionError`."""

    def __init__(
        self,
        name: str,
        retry_after: float | None,
        state: BreakerState = BreakerState.OPEN,
        *,
        request: httpx2.Request,
    ) -> None:
        self._tell(str(_BreakerOpen(name, retry_after, state)), request)
        self.name = name
        self.retry_after = retry_after
        self.state = state

    @classmethod
    def refusing(cls, refusal: _BreakerOpen, request: httpx2.Request) -> Self:
        """Say so of a call that was not sent."""
        return cls(refusal.name, refusal.retry_after, refusal.state, request=request)


class StreamInterrupted(_Ours):
    """A stream broke off after its answer had begun: an `anthropic.APIConnectionError`.

    Never tried again by itself, since the application may have used what had come.
    """

    def __init__(
        self,
        message: str,
        *,
        request: httpx2.Request,
        partial: PartialMessage = NOTHING,
        outcome: Outcome = Outcome.TRUNCATED,
        phase: Phase | None = None,
        request_id: str | None = None,
    ) -> None:
        self._tell(message, request)
        self.partial = partial
        """The message so far."""
        self.outcome = outcome
        self.phase = phase
        """What it waited for, when it timed out: ``stall`` or ``deadline``."""
        self.request_id = request_id
        """The API's id of the request."""


class StreamStalled(StreamInterrupted, sdk.APITimeoutError):
    """The same, because nothing came any more: an `anthropic.APITimeoutError` too."""


class StreamDeadlineExceeded(StreamInterrupted, DeadlineExceeded):
    """The same, because the call's own time ran out: a `DeadlineExceeded` too."""

    remaining = 0.0
    floor = 0.0


_SAID = {
    Phase.STALL: "the stream fell silent for longer than its policy allows",
    Phase.DEADLINE: "the call's total time ran out while its answer was streaming",
    None: "the stream broke off before its message was complete",
}
_DAMAGED = "what came of the stream is damaged and cannot be read any further"


def interrupted(
    *,
    request: httpx2.Request,
    partial: PartialMessage,
    outcome: Outcome,
    phase: Phase | None,
    request_id: str | None,
) -> StreamInterrupted:
    """Make the one of these errors that fits."""
    kind = StreamInterrupted if phase is None else _KINDS.get(phase, StreamInterrupted)
    said = _DAMAGED if outcome is Outcome.SERVER_ERROR else _SAID.get(phase, _SAID[None])
    message = f"{said}: what had come of it is in `partial`"
    return kind(message, request=request, partial=partial, outcome=outcome, phase=phase, request_id=request_id)


def raise_interrupted(cause: BaseException | None, **what: Any) -> NoReturn:
    """Raise the one of these errors that fits; takes what `interrupted` takes."""
    raise interrupted(**what) from cause


_KINDS = {Phase.STALL: StreamStalled, Phase.DEADLINE: StreamDeadlineExceeded}
