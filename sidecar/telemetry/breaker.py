"""`Breaker`: the series of one circuit breaker, told of by whoever runs it."""

import math
from collections.abc import Callable
from typing import Final

from sidecar.model import REJECTING, BreakerState, Source
from sidecar.telemetry import families as f
from sidecar.telemetry.guard import OTHER
from sidecar.telemetry.store import Store

_KNOWN_TRANSITIONS: Final = (
    (BreakerState.CLOSED, BreakerState.OPEN),
    (BreakerState.OPEN, BreakerState.HALF_OPEN),
    (BreakerState.HALF_OPEN, BreakerState.OPEN),
    (BreakerState.HALF_OPEN, BreakerState.CLOSED),
)


class Breaker:
    """The series of one breaker. Its states, rejections and usual transitions exist, at 0, from the start.

    A breaker whose name found no place under the label limit shares its counters with the others of that kind, and
    has no gauges: a state of several breakers at once would mean nothing.
    """

    __slots__ = ("_do", "_label", "_reason", "_source", "_store", "_wall")

    def __init__(
        self,
        store: Store,
        do: Callable[[str, Callable[[], None]], None],
        label: Callable[[], str],
        source: Source,
        *,
        reason: Callable[[str], str],
        wall: Callable[[], float],
    ) -> None:
        self._store: Final = store
        self._do: Final = do
        self._label: Final = label
        self._source: Final = source.value
        self._reason: Final = reason
        self._wall: Final = wall
        do("breaker", self._prepare)

    def state(self, state: BreakerState) -> None:
        """Set the state it is in, without counting a transition."""
        self._do("breaker", lambda: self._set_state(BreakerState(state)))

    def transition(self, before: BreakerState, after: BreakerState) -> None:
        """Count a change of state, and set the new one."""

        def work() -> None:
            labels = (self._label(), BreakerState(before).value, BreakerState(after).value)
            self._store.counter(f.BREAKER_TRANSITIONS, *labels, self._source).value += 1
            self._set_state(BreakerState(after))

        self._do("breaker", work)

    def opened(self, reason: str, seconds: float = math.inf) -> None:
        """Tell why it opened, and after how many seconds it tries again; infinite when only a reset closes it.

        The next state that is not open takes this back.
        """

        def work() -> None:
            label = self._label()
            if label == OTHER:
                return
            self._forget_opening()
            now = self._wall()
            gauge = self._store.gauge(f.BREAKER_REOPENS, label, self._reason(reason), self._source)
            gauge.set(0.0 if math.isinf(seconds) else now + max(0.0, seconds), now)

        self._do("breaker", work)

    def rejected(self) -> None:
        """Count a call that was not sent."""

        def work() -> None:
            self._store.counter(f.BREAKER_REJECTIONS, self._label(), self._source).value += 1

        self._do("breaker", work)

    def failure_ratio(self, ratio: float) -> None:
        """Set the share of failures in its window; NaN, when it has seen too little, takes it away."""

        def work() -> None:
            label = self._label()
            if label != OTHER:
                value = float(ratio) if 0.0 <= ratio <= 1.0 else None
                self._store.gauge(f.BREAKER_FAILURE_RATIO, label, self._source).set(value)

        self._do("breaker", work)

    def _prepare(self) -> None:
        label = self._label()
        self._store.counter(f.BREAKER_REJECTIONS, label, self._source)
        for before, after in _KNOWN_TRANSITIONS:
            self._store.counter(f.BREAKER_TRANSITIONS, label, before.value, after.value, self._source)

    def _set_state(self, state: BreakerState) -> None:
        label = self._label()
        if state not in REJECTING:
            self._forget_opening()
        if label != OTHER:
            for each in BreakerState:
                self._store.gauge(f.BREAKER_STATE, label, each.value, self._source).set(float(each is state))

    def _forget_opening(self) -> None:
        own = (self._label(), self._source)
        for (label, reason, source), *_ in self._store.gauges(f.BREAKER_REOPENS):
            if (label, source) == own:
                self._store.gauge(f.BREAKER_REOPENS, label, reason, source).set(None)
