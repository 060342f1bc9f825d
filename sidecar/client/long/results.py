"""What `complete` hands back: the joined message, and what its turns were."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sidecar.model import Outcome, Usage

if TYPE_CHECKING:
    from anthropic.types import Message

__all__ = ["Completed", "Ending", "Limit", "Turn"]


class Ending(StrEnum):
    """How one turn of an answer ended."""

    WHOLE = "whole"
    """The model said all it had to say (or wants a tool, or refuses): nothing is to be continued."""
    MAX_TOKENS = "max_tokens"
    """It stopped at ``max_tokens``."""
    BROKEN = "broken"
    """Its stream broke off."""


class Limit(StrEnum):
    """Why an answer that is not whole was not continued."""

    TURNS = "turns"
    TOKENS = "tokens"
    DEADLINE = "deadline"
    CONTENT = "content"
    """It stopped in something that cannot be gone on with: a tool use, thinking, or output of a fixed format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One call of those an answer took."""

    ending: Ending
    outcome: Outcome
    """What the call was, as its records tell it."""
    stop_reason: str | None = None
    error_type: str | None = None
    """What broke it: an API error's type or an exception's class name."""
    usage: Usage | None = None
    """Tokens as far as they were told; a broken stream does not tell all of its output."""
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """An answer, joined from as many turns as it took."""

    message: "Message" = field(repr=False)
    """One message: the texts joined, the usage of all turns summed, the id of the first and the end of the last."""
    turns: tuple[Turn, ...]
    """The calls it took, in their order."""
    limit: Limit | None = None
    """Why it is not whole; None for an answer that is."""

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""
        return self.limit is None

    @property
    def resumed(self) -> tuple[Turn, ...]:
        """The turns that were continued; empty when one call did it all."""
        return self.turns[:-1]

    @property
    def text(self) -> str:
        """All text blocks, joined."""
        return "".join(block.text for block in self.message.content if block.type == "text")
