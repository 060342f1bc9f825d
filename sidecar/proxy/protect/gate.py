"""How many requests are under way upstream at once, and the short queue of those that wait for their turn."""

from collections import deque
from typing import Final, Protocol

from sidecar.proxy.errors import Fault
from sidecar.proxy.wheel import Timer, Wheel

Lane = tuple[str, str]
"""An upstream, and a model or an empty string for all."""

_AGAIN_AFTER: Final = 1


class Entering(Protocol):
    """Who asks to be let in."""

    def entered(self) -> None:
        """Go ahead; ``leave`` when done."""

    def not_entered(self, fault: Fault) -> None:
        """Give up: the time to wait is over."""


class _Queue:
    __slots__ = ("busy", "handing", "waiting")

    def __init__(self) -> None:
        self.busy = 0
        self.waiting: deque[tuple[Entering, Timer]] = deque()
        self.handing = False


class Gate:
    """A limit for each lane: for each model, or one lane for the upstream."""

    def __init__(self, wheel: Wheel, *, limit: int, queue: int) -> None:
        self._wheel = wheel
        self._limit = limit
        self._queue = queue
        self._lanes: dict[Lane, _Queue] = {}

    @property
    def lanes(self) -> int:
        """How many lanes have anybody in them."""
        return len(self._lanes)

    def enter(self, lane: Lane, who: Entering, seconds: float) -> bool:
        """Let in at once (True), or later, or not within ``seconds``; a fault when the queue is full."""
        found = self._lanes.setdefault(lane, _Queue())
        if found.busy < self._limit:
            found.busy += 1
            return True
        if len(found.waiting) >= self._queue:
            raise Fault(
                "queue_full",
                f"{self._limit} requests are under way upstream and {self._queue} wait already",
                retry_after=_AGAIN_AFTER,
            )
        timer = self._wheel.timer(lambda: self._give_up(lane, who, seconds))
        timer.after(seconds)
        found.waiting.append((who, timer))
        return False

    def forget(self, lane: Lane, who: Entering) -> None:
        """Stop waiting."""
        found = self._lanes[lane]
        for entry in found.waiting:
            if entry[0] is who:
                found.waiting.remove(entry)
                entry[1].close()
                return

    def leave(self, lane: Lane) -> None:
        """Let the next one in."""
        found = self._lanes[lane]
        found.busy -= 1
        if found.handing:
            return  # whoever was let in left at once; the loop below sees it
        found.handing = True
        while found.waiting and found.busy < self._limit:
            who, timer = found.waiting.popleft()
            timer.close()
            found.busy += 1
            who.entered()
        found.handing = False
        if not found.busy:
            del self._lanes[lane]

    def _give_up(self, lane: Lane, who: Entering, seconds: float) -> None:
        self.forget(lane, who)
        who.not_entered(
            Fault(
                "queue_timeout",
                f"{self._limit} requests stayed under way upstream for {seconds:.3g} s",
                retry_after=_AGAIN_AFTER,
            )
        )
