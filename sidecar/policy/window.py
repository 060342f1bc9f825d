"""Counts over the last seconds, in buckets of one second: constant memory, constant time, no clock of its own."""

from math import floor


class SlidingCounts:
    """Running totals, and what they were when each of the last ``seconds`` seconds began.

    What a window holds is the difference of two totals, so counting costs one addition: the owner calls ``roll``
    and then adds to ``totals``. A bucket leaves as soon as its oldest event could be ``seconds`` old, so nothing
    that old is ever counted, and what was counted less than ``seconds - 1`` ago always is.
    """

    __slots__ = ("_marks", "_second", "_until", "totals")

    def __init__(self, kinds: int, seconds: int, now: float) -> None:
        self.totals = [0] * kinds
        self._marks = [(0,) * kinds] * seconds
        self._second = floor(now)
        self._until = self._second + 1

    def roll(self, now: float) -> None:
        """Begin a new bucket when its time has come. A clock that steps back stays in the newest bucket."""
        if now < self._until:
            return
        second = floor(now)
        size = len(self._marks)
        mark = tuple(self.totals)
        for began in range(max(self._second, second - size) + 1, second + 1):
            self._marks[began % size] = mark
        self._second = second
        self._until = second + 1

    def within(self, now: float) -> list[int]:
        """Count what the window holds at ``now``."""
        self.roll(now)
        oldest = self._marks[(self._second + 1) % len(self._marks)]
        return [total - before for total, before in zip(self.totals, oldest, strict=True)]
