"""The breakers of a process, one for each upstream host and model, and never more than a fixed number."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from random import Random
from threading import Lock
from typing import Final

from sidecar.model import BreakerState
from sidecar.policy.breaker import CircuitBreaker
from sidecar.policy.breaker_config import BreakerConfig
from sidecar.policy.breaker_cycle import Reason
from sidecar.policy.check import Faults

OnNamedTransition = Callable[[str, BreakerState, BreakerState, Reason], object]

_SET_BY_HAND: Final = frozenset({BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.OBSERVE_ONLY})


class BreakerRegistry:
    """Finds the breaker of a host and a model, and makes it when there is none.

    Model names come from callers, who can invent them without end. So when every place is taken, a newcomer takes
    the place of the breaker that has least to lose: first of those that are closed and hold no verdict, then of the
    closed, then of the others, and of those an operator has set only when there is nothing else; the least recently
    used goes first. Permits of a breaker that had to go still end without harm.

    ``on_transition`` is called for every breaker, with its name before what ``CircuitBreaker.on_transition`` tells.
    """

    def __init__(
        self,
        config: BreakerConfig | None = None,
        *,
        max_breakers: int = 100,
        on_transition: OnNamedTransition | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        faults = Faults("breaker registry")
        faults.whole("max_breakers", max_breakers, least=1, most=10_000)
        faults.stop_if_any()
        self.config = BreakerConfig() if config is None else config
        self._max = max_breakers
        self._on_transition = on_transition
        self._clock = clock
        self._rng = rng  # None: each breaker makes one of its own
        self._lock = Lock()
        self._breakers: OrderedDict[tuple[str, str], CircuitBreaker] = OrderedDict()

    def get(self, host: str, model: str) -> CircuitBreaker:
        """Find or make the breaker named ``host/model``."""
        key = (host, model)
        with self._lock:
            breaker = self._breakers.get(key)
            if breaker is not None:
                self._breakers.move_to_end(key)
                return breaker
            crowd = list(self._breakers.items()) if len(self._breakers) >= self._max else []
        # Asking a breaker for its state may call callbacks, and those may call back here: so not under the lock.
        leaves = min(crowd, key=lambda item: _worth(item[1]))[0] if crowd else None
        made = self._make(f"{host}/{model}")
        with self._lock:
            breaker = self._breakers.setdefault(key, made)  # another thread may have been faster
            if len(self._breakers) > self._max:
                if leaves is None or leaves not in self._breakers:
                    leaves = next(iter(self._breakers))
                del self._breakers[leaves]
            return breaker

    def all(self) -> tuple[CircuitBreaker, ...]:
        """List the breakers, the least recently used first."""
        with self._lock:
            return tuple(self._breakers.values())

    def _make(self, name: str) -> CircuitBreaker:
        breaker = CircuitBreaker(name, **asdict(self.config), clock=self._clock, rng=self._rng)
        if self._on_transition is not None:
            breaker.on_transition(partial(self._on_transition, name))
        return breaker


def _worth(breaker: CircuitBreaker) -> int:
    snapshot = breaker.snapshot()
    if snapshot.state in _SET_BY_HAND:
        return 3
    if snapshot.state is not BreakerState.CLOSED:
        return 2
    return 1 if snapshot.counts.calls else 0
