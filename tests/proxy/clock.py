"""A loop's clock and timers, moved by hand."""

from collections.abc import Callable


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ClockLoop:
    """A loop's clock and timers, by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Callable[[], None], Handle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        handle = Handle()
        self.calls.append((when, callback, handle))
        return handle

    @property
    def armed(self) -> list[float]:
        return [when for when, _, handle in self.calls if not handle.cancelled]

    def advance(self, to: float) -> None:
        while due := [call for call in self.calls if call[0] <= to and not call[2].cancelled]:
            call = min(due, key=lambda call: call[0])
            self.calls.remove(call)
            self.now = max(self.now, call[0])
            call[1]()
        self.now = to
