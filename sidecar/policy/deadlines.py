"""One deadline for a chain of calls, carried by the context: it says what each call may take, and refuses in time.

It interrupts nothing by itself. Context variables carry it into tasks, gathered coroutines, ``asyncio.to_thread``
and every context that is copied.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final

from sidecar.policy.check import Faults

_current: Final[ContextVar["Deadline | None"]] = ContextVar("sidecar_deadline", default=None)


class DeadlineExceeded(Exception):  # noqa: N818  # the name callers know
    """Nothing was sent: too little time is left for it to make sense."""

    def __init__(self, remaining: float, floor: float) -> None:
        super().__init__(remaining, floor)
        self.remaining = remaining
        """Seconds left, negative when the deadline has passed."""
        self.floor = floor

    def __str__(self) -> str:
        return (
            f"{self.remaining:.3g} s are left of the deadline, less than the {self.floor:g} s a call needs:"
            " give the chain more time, or its calls smaller shares"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """An instant on a clock, and how its calls share the time until then."""

    at: float
    share: float
    """What part of the time left a call may have."""
    cap: float | None
    """The most a call may have; None: only the share counts."""
    floor: float
    """With less than this left a call is refused."""
    clock: Callable[[], float]

    def remaining(self) -> float:
        """Seconds left, negative when it has passed."""
        return self.at - self.clock()

    def last(self) -> "DeadlineScope":
        """Make the calls inside the last of the chain: each may have all that is left.

        As everywhere, an earlier deadline that is in force where it is entered wins.
        """

        def make(outer: Deadline | None) -> Deadline:
            earliest = outer if outer is not None and outer.remaining() < self.remaining() else self
            return replace(earliest, share=1.0)

        return DeadlineScope(make)

    def allot(self, cap: float | None = None, *, last: bool = False) -> float:
        """Seconds the next call may have, with its waits and retries; ``last``: it need leave nothing for others.

        Raises ``DeadlineExceeded`` when less than ``floor`` is left. ``cap`` is the call's own limit.
        """
        remaining = self.remaining()
        if remaining < self.floor or remaining <= 0:
            raise DeadlineExceeded(remaining, self.floor)
        allotted = remaining if last else remaining * self.share
        return min([allotted, *(limit for limit in (cap, self.cap) if limit is not None)])


class DeadlineScope:
    """The time between entering and leaving; enter it once, with ``with`` or ``async with``."""

    __slots__ = ("_make", "_token")

    def __init__(self, make: Callable[[Deadline | None], Deadline]) -> None:
        self._make: Callable[[Deadline | None], Deadline] | None = make

    def __enter__(self) -> Deadline:
        if self._make is None:
            raise RuntimeError("this deadline was entered before: call deadline() anew for each use")
        make, self._make = self._make, None
        inner = make(_current.get())
        self._token: Token[Deadline | None] = _current.set(inner)
        return inner

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    async def __aenter__(self) -> Deadline:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        # A generator may be closed in another context than the one it was begun in; there is nothing to undo there.
        with suppress(ValueError):
            _current.reset(self._token)


def deadline(
    seconds: float,
    *,
    share: float = 0.5,
    cap: float | None = None,
    floor: float = 1.0,
    clock: Callable[[], float] | None = None,
) -> DeadlineScope:
    """Give all calls made inside ``seconds`` together, from the moment it is entered.

    Each call gets ``min(remaining * share, cap)``, retries and waits included, and is refused when less than
    ``floor`` is left. Nested, the earliest deadline wins. ``clock`` is that of the enclosing deadline, or
    ``time.monotonic``.
    """
    faults = Faults("deadline")
    faults.number("seconds", seconds, least=0)
    faults.number("share", share, above=0, most=1)
    faults.number("cap", cap, above=0, optional=True)
    faults.number("floor", floor, least=0)
    faults.stop_if_any()

    def make(outer: Deadline | None) -> Deadline:
        own = clock or (outer.clock if outer else time.monotonic)
        left = seconds if outer is None else min(seconds, outer.remaining())
        return Deadline(at=own() + left, share=share, cap=cap, floor=floor, clock=own)

    return DeadlineScope(make)


def current_deadline() -> Deadline | None:
    """Tell the deadline this code runs under, if any."""
    return _current.get()
