"""`Later`: what was seen of requests is worked up in batches, a moment after it was seen.

Done at once it would hold up the very bytes it tells of, and it would cost far more: between the calls of an event
loop all that it needs has left the processor's caches. In a batch only the first has to fetch it.
"""

from asyncio import AbstractEventLoop
from threading import get_ident
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.proxy.wheel import Wheel
from sidecar.telemetry import Telemetry

if TYPE_CHECKING:
    from sidecar.model import AttemptRecord, CallRecord

BATCH: Final = 32
"""Enough for nearly all to find warm caches; few enough to hold up the loop for about a millisecond."""
SECONDS: Final = 0.05
"""How long the first of a batch waits for the others."""


class Work(Protocol):
    """Something that was put off."""

    def settle(self) -> None:
        """Do it, and add what it comes to to ``records``; raises nothing."""


class Later:
    """Takes work in the order in which things happened, and does it in that order."""

    def __init__(self, loop: AbstractEventLoop, wheel: Wheel, telemetry: Telemetry) -> None:
        self._loop: Final = loop
        self._timer: Final = wheel.timer(self.settle)
        self._thread: Final = get_ident()
        self._telemetry: Final = telemetry
        self._waiting: list[Work] = []
        self.records: Final[list[AttemptRecord | CallRecord]] = []
        """What the work at hand came to: counted in one go with that of the others in its batch."""
        telemetry.before_collecting(self._asked)

    def add(self, work: Work) -> None:
        """Put this off: until enough has come together, a moment has passed, or somebody reads."""
        waiting = self._waiting
        waiting.append(work)
        count = len(waiting)
        if count == 1:
            self._timer.after(SECONDS)
        elif count == BATCH:
            self.soon()

    def soon(self) -> None:
        """Do it all once the bytes at hand are on their way."""
        self._loop.call_soon(self.settle)

    def settle(self) -> None:
        """Do it all now."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for work in waiting:
                work.settle()
            self.count()

    def count(self) -> None:
        """Have counted what was made so far."""
        if self.records:
            records = self.records[:]
            self.records.clear()
            self._telemetry.count(records)

    def _asked(self) -> None:
        # Another thread must not touch what the loop is at work on; it reads what was counted a moment ago.
        if get_ident() == self._thread:
            self.settle()
