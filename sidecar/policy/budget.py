"""The retry budget: retries as a share of calls, so that they cannot multiply the load of an outage."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from sidecar.policy.check import Faults
from sidecar.policy.window import SlidingCounts

_DEPOSITS: Final = 0
_WITHDRAWALS: Final = 1
_ROUNDING: Final = 1e-9
"""Five deposits of 0.2 must buy a retry, whatever binary fractions make of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetConfig:
    """How many retries there may be: ``ratio`` for each call, and a few even when there are hardly any calls."""

    ratio: float = 0.2
    """What a call deposits; a retry withdraws 1."""
    min_per_second: float = 1.0
    """Retries a second that are there without any deposit, ``min_per_second * ttl`` at once."""
    ttl: float = 10.0
    """Whole seconds after which a deposit expires, and a withdrawal is forgotten."""

    def __post_init__(self) -> None:
        faults = Faults("retry budget")
        faults.number("ratio", self.ratio, least=0, most=10)
        faults.number("min_per_second", self.min_per_second, least=0, most=1_000_000)
        faults.whole_seconds("ttl", self.ttl, most=3600)
        faults.stop_if_any()


class RetryBudget:
    """What is left to spend on retries.

    Within any ``ttl`` seconds there are never more retries than ``ratio`` times the calls of that time, plus
    ``min_per_second * ttl``.
    """

    __slots__ = ("_clock", "_counts", "_lock", "config")

    def __init__(
        self,
        *,
        ratio: float = 0.2,
        min_per_second: float = 1.0,
        ttl: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = BudgetConfig(ratio=ratio, min_per_second=min_per_second, ttl=ttl)
        self._clock = clock
        self._lock = Lock()
        self._counts = SlidingCounts(2, int(ttl), clock())

    def deposit(self) -> None:
        """Note a call."""
        with self._lock:
            self._counts.roll(self._clock())
            self._counts.totals[_DEPOSITS] += 1

    def withdraw(self) -> bool:
        """Take leave for one retry; a refusal leaves the balance as it was."""
        with self._lock:
            allowed, spent = self._account()
            if allowed - spent < 1 - _ROUNDING:
                return False
            self._counts.totals[_WITHDRAWALS] += 1
            return True

    @property
    def balance(self) -> float:
        """Retries that could be had now."""
        with self._lock:
            allowed, spent = self._account()
        return max(allowed - spent, 0.0)

    @property
    def level(self) -> float:
        """What is left as a share: 1 when nothing was spent, 0 when nothing is left."""
        with self._lock:
            allowed, spent = self._account()
        return 1.0 if not spent else max(1 - spent / allowed, 0.0) if allowed else 0.0

    def _account(self) -> tuple[float, int]:
        deposits, withdrawals = self._counts.within(self._clock())
        return self.config.min_per_second * self.config.ttl + self.config.ratio * deposits, withdrawals
