"""Every timer of the proxy on one timer of the loop.

Timers are moved far more often than they fire (each request moves three), so moving one to a later time only stores a
number; where it really stands is found out when its old time comes.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil, inf
from typing import Final

_NOWHERE: Final = -1


class Timer:
    """One thing that may become due. Off until ``at`` is called."""

    __slots__ = ("_action", "_slot", "_stands", "_wheel", "due")

    def __init__(self, wheel: "Wheel", action: Callable[[], None]) -> None:
        self._wheel = wheel
        self._action: Callable[[], None] | None = action
        self._slot = _NOWHERE
        self._stands = inf  # when its slot is turned
        self.due = inf

    def at(self, due: float) -> None:
        """Fire at this time of the loop's clock, or up to a slot later; the time before is forgotten."""
        self.due = due
        if due >= self._stands:
            return
        slot = ceil(due * self._wheel.per_second)
        if slot != self._slot:
            self._slot = slot
            self._stands = slot / self._wheel.per_second
            self._wheel.insert(self, slot)

    def after(self, seconds: float) -> None:
        """Fire this much later than now."""
        self.at(self._wheel.now() + seconds)

    def off(self) -> None:
        """Do not fire."""
        self.due = inf

    def close(self) -> None:
        """Never fire again, and let go of what would have been done."""
        self.due = inf
        self._action = None

    def turn(self, slot: int, now: float) -> None:
        """Fire, or move to where it now belongs; the wheel calls this."""
        if slot != self._slot:
            return  # it stands in an earlier slot as well, and this one is stale
        self._slot = _NOWHERE
        self._stands = inf
        if self.due == inf:
            return
        if self.due > now:
            self.at(self.due)
            return
        self.due = inf
        if self._action is not None:
            self._action()


class Wheel:
    """Slots of timers, and one timer of the loop for the first slot."""

    def __init__(self, loop: AbstractEventLoop, *, per_second: int = 20) -> None:
        self._loop = loop
        self.per_second = per_second
        self.now = loop.time
        self._slots: dict[int, list[Timer]] = {}
        self._order: list[int] = []
        self._handle: TimerHandle | None = None
        self._armed = 0

    def timer(self, action: Callable[[], None]) -> Timer:
        """Make a timer."""
        return Timer(self, action)

    def insert(self, timer: Timer, slot: int) -> None:
        """Put a timer into a slot; timers call this."""
        timers = self._slots.get(slot)
        if timers is not None:
            timers.append(timer)
            return
        self._slots[slot] = [timer]
        heappush(self._order, slot)
        if self._handle is None or slot < self._armed:
            self._arm()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = self._order[0]
        self._handle = self._loop.call_at(self._armed / self.per_second, self._turn)

    def _turn(self) -> None:
        self._handle = None
        now = self.now()
        # The loop may wake a hair early; a slot is only turned when all of its timers can be due.
        while self._order and self._order[0] <= now * self.per_second + 1e-6:
            slot = heappop(self._order)
            for timer in self._slots.pop(slot):
                timer.turn(slot, now + 1e-6)
        if self._order and self._handle is None:
            self._arm()

    def close(self) -> None:
        """Stop; no timer fires any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._slots.clear()
        self._order.clear()
