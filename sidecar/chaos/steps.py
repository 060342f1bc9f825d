"""The words scripts are written in: a step is one thing to do, after a delay. Nothing but data."""

from enum import Enum, auto
from typing import NamedTuple

__all__ = ["Act", "Step"]


class Act(Enum):
    """What a step does."""

    HEAD = auto()
    """Send the answer's head."""
    SEND = auto()
    """Send part of the body."""
    CONTENT = auto()
    """Send a content event."""
    TAIL = auto()
    """Send the first event after all content."""
    DONE = auto()
    """The answer is complete (``data`` may finish its framing)."""
    EARLY = auto()
    """The body ends properly, but before all of it was sent."""
    CUT = auto()
    """Close the connection as it is."""
    RESET = auto()
    """Reset the connection."""
    PAUSE = auto()
    """Be silent for the whole delay, counted from now and not from when the step before was due."""
    HOLD = auto()
    """Say nothing more, until the client leaves."""


class Step(NamedTuple):
    """One thing to do, ``delay`` seconds after the one before it."""

    delay: float
    act: Act
    data: bytes = b""
