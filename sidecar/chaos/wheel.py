"""One timer for everything that waits: thousands of streams cost the event loop one callback a tick.

A callback runs at the first tick at or after its time, so never early and at most one tick late.
"""

import asyncio
import heapq
import math
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Timer", "Wheel"]

TICK: Final = 0.005


class Timer:
    """A callback that can still be called off."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the callback."""
        self.callback = None


class Wheel:
    """Calls back at given times of the monotonic clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[Timer]] = {}
        self._due: list[int] = []
        self._armed: asyncio.TimerHandle | None = None
        self._armed_for = 0

    @staticmethod
    def now() -> float:
        """Read the clock. Not the loop's: uvloop's stands still within a turn, and counts whole milliseconds."""
        return time.monotonic()

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back at ``when``, by this clock."""
        timer = Timer(callback)
        slot = math.ceil(when / TICK)
        waiting = self._slots.get(slot)
        if waiting is not None:
            waiting.append(timer)
            return timer
        self._slots[slot] = [timer]
        heapq.heappush(self._due, slot)
        if self._armed is None or slot < self._armed_for:
            self._arm()
        return timer

    def close(self) -> None:
        """Forget everything."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        self._slots.clear()
        self._due.clear()

    def _arm(self) -> None:
        if self._armed is not None:
            self._armed.cancel()
        self._armed_for = self._due[0]
        milliseconds = math.ceil((self._armed_for * TICK - self.now()) * 1000)
        self._armed = self._loop.call_later(max(0, milliseconds) / 1000, self._turn)

    def _turn(self) -> None:
        self._armed = None
        # The loop may call a hair early, its clock being coarser than ours; then there is nothing due yet.
        current = math.floor(self.now() / TICK)
        while self._due and self._due[0] <= current:
            for timer in self._slots.pop(heapq.heappop(self._due)):
                if timer.callback is not None:
                    timer.callback()
        if self._due and self._armed is None:
            self._arm()
