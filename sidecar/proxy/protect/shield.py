"""What the protected requests of one proxy share: planners, breakers, the queue, the room for bodies, their gauges."""

import time
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Final

from sidecar.model import REJECTING, BreakerState, Profile
from sidecar.policy import BreakerOpen, BreakerRegistry, CallPlan, Deadline, Planner
from sidecar.policy.breaker_cycle import Reason
from sidecar.proxy.errors import Fault
from sidecar.proxy.framing import bad
from sidecar.proxy.headers import RequestHead
from sidecar.proxy.protect.exchange import ProtectedExchange
from sidecar.proxy.protect.gate import Gate, Lane
from sidecar.proxy.protect.settings import Protection
from sidecar.proxy.protect.upload import Room
from sidecar.proxy.shapes import Shape, read_path
from sidecar.proxy.wheel import Wheel
from sidecar.telemetry import Telemetry

if TYPE_CHECKING:
    from sidecar.proxy.downstream import Downstream
    from sidecar.proxy.observe import Observer

TELL_SECONDS: Final = 1.0
"""How often gauges that change by themselves are told."""
FORCED_AGAIN_AFTER: Final = 60
"""What a breaker that only an operator closes says in ``retry-after``: nobody knows better."""

_PROTECTED: Final = frozenset({"messages", "messages.count_tokens"})
_UPGRADED: Final = "messages"
_LONGEST_DEADLINE: Final = 10  # digits


class Shield:
    """Protection at work."""

    def __init__(
        self,
        settings: Protection,
        telemetry: Telemetry,
        wheel: Wheel,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rng: Random | None = None,
    ) -> None:
        self.settings = settings
        self.wheel = wheel
        self.clock = clock
        self.wall = wall
        self._telemetry = telemetry
        self.room = Room(settings.spool_total_bytes)
        self.gate = Gate(wheel, limit=settings.concurrency, queue=settings.queue) if settings.concurrency else None
        self.breakers: BreakerRegistry | None = None
        """One breaker for each model; None where no profile has any."""
        if settings.breaker is not None:
            self.breakers = BreakerRegistry(settings.breaker, on_transition=self._changed, clock=clock, rng=rng)
        self._planners: dict[Profile, Planner] = {}
        self._unnamed: dict[Profile, Planner] = {}
        for profile, policy in settings.policies.items():
            breakers = None if policy.breaker is None else self.breakers
            planner = Planner(policy, breakers=breakers, clock=clock, rng=rng)
            self._planners[profile] = planner
            self._unnamed[profile] = Planner(replace(policy, breaker=None), budget=planner.budget, clock=clock, rng=rng)
            telemetry.timeouts(profile, policy.timeouts.by_phase())
        self._timer = wheel.timer(self._tick)
        self._timer.after(TELL_SECONDS)

    def exchange_for(self, client: "Downstream", head: RequestHead, observer: "Observer") -> ProtectedExchange | None:
        """Make the exchange that will serve a request; None for those that are not protected."""
        if head.method != b"POST" or read_path(observer.shape, head.target).endpoint not in _PROTECTED:
            return None
        return ProtectedExchange(client, head, self, observer)

    def may_upgrade(self, shape: Shape, head: RequestHead) -> bool:
        """Say whether a request could be upgraded, as far as its head tells."""
        encoded = head.watched.get(b"content-encoding", b"identity").lower() != b"identity"
        fits = shape is Shape.ANTHROPIC and read_path(shape, head.target).endpoint == _UPGRADED
        return self.settings.upgrade and fits and not encoded

    def plan(self, profile: Profile, host: str, model: str, *, stream: bool, deadline: Deadline | None) -> CallPlan:
        """Begin the plan of a call. One that names no model has no breaker: it would be everybody's."""
        planner = (self._planners if model else self._unnamed)[profile]
        return planner.plan(host, model, stream=stream, deadline=deadline)

    def rejects(self, profile: Profile, host: str, model: str) -> bool:
        """Say whether the breaker is sure to reject a call, so that it need not wait for its turn."""
        breakers = self._planners[profile].breakers
        return bool(model) and breakers is not None and breakers.get(host, model).rejects_for() > 0

    def lane(self, upstream: str, model: str) -> Lane:
        """Name what the limit of requests under way is counted by."""
        return upstream, model if self.settings.concurrency_per == "model" else ""

    def deadline(self, head: RequestHead, profile: Profile, began: float) -> Deadline | None:
        """Find when a call must be over: by its profile, or by its caller where that is sooner."""
        seconds = self._planners[profile].policy.timeouts.total
        said = head.watched.get(b"x-sidecar-deadline-ms")
        if said is not None:
            if not said.isdigit() or len(said) > _LONGEST_DEADLINE:
                raise bad("x-sidecar-deadline-ms must be a whole number of milliseconds, 0 or more")
            asked = int(said) / 1000
            seconds = asked if seconds is None else min(seconds, asked)
        if seconds is None:
            return None
        return Deadline(at=began + seconds, share=1.0, cap=None, floor=0.0, clock=self.clock)

    def breaker_open(self, refusal: BreakerOpen) -> Fault:
        """Put to the client that a breaker rejected its call, and count it."""
        self._telemetry.breaker(refusal.name).rejected()
        after = FORCED_AGAIN_AFTER if refusal.retry_after is None else max(ceil(refusal.retry_after), 1)
        return Fault(
            "breaker_open",
            "the breaker of this model is open, as its last calls failed; nothing was sent",
            retry_after=after,
            status=self.settings.breaker_status,
        )

    def tell(self) -> None:
        """Tell the gauges of the breakers and budgets; what time alone brings about happens by that."""
        for breaker in self.breakers.all() if self.breakers is not None else ():
            snapshot = breaker.snapshot()
            series = self._telemetry.breaker(snapshot.name)
            series.state(snapshot.state)
            series.failure_ratio(snapshot.counts.failure_ratio)
        for profile, planner in self._planners.items():
            if planner.budget is not None:
                self._telemetry.retry_budget(profile.value, planner.budget.level)

    def close(self) -> None:
        """Stop."""
        self._timer.close()

    def _tick(self) -> None:
        self.tell()
        self._timer.after(TELL_SECONDS)

    def _changed(self, name: str, before: BreakerState, after: BreakerState, reason: Reason) -> None:
        series = self._telemetry.breaker(name)
        series.transition(before, after)
        if after in REJECTING and self.breakers is not None:
            host, _, model = name.partition("/")
            series.opened(reason.value, self.breakers.get(host, model).rejects_for())
