"""`Resume`: how far an answer may be continued, and how that is written into a header. Pure."""

import json
from dataclasses import asdict, dataclass, field
from typing import Final

from sidecar.client.long.joint import CONTINUE
from sidecar.policy.check import Faults

__all__ = ["MAX_TURNS", "Resume"]

MAX_TURNS: Final = 4
"""So many calls an answer may take, unless more are allowed."""

_MOST_TURNS: Final = 1_000
_MOST_TOKENS: Final = 1 << 53
_YES: Final = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """How far an answer may be continued: ``resume=`` of a stream takes it, and True stands for what it is by default.

    The answer takes at most ``max_turns`` calls, with ``max_total_tokens`` of output, in ``deadline`` seconds from
    when the first is sent. ``prompt``: what the user's turn says that asks for the rest.
    """

    max_turns: int = MAX_TURNS
    max_total_tokens: int | None = None
    deadline: float | None = None
    prompt: str = field(default=CONTINUE, repr=False)

    def __post_init__(self) -> None:
        faults = Faults("bounds of a long answer")
        faults.whole("max_turns", self.max_turns, least=1, most=_MOST_TURNS)
        faults.whole("max_total_tokens", self.max_total_tokens, least=1, most=_MOST_TOKENS, optional=True)
        faults.number("deadline", self.deadline, above=0, optional=True)
        if not _says_something(self.prompt):
            faults.note("prompt", "must be a text that says something")  # what it was instead may be content
        faults.stop_if_any()

    def written(self) -> str:
        """Write it as a header's value."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, value: object) -> "Resume | None":
        """Read a header's value: ``true``, or an object of these fields; None for all else."""
        if not isinstance(value, str):
            return None
        if value.strip().lower() == _YES:
            return cls()
        try:
            told = json.loads(value)
            return cls(**told) if isinstance(told, dict) else None
        except (ValueError, TypeError, RecursionError):  # no JSON, no such fields, or not such values
            return None


def _says_something(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
