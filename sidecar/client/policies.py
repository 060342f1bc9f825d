"""Which policy a call has, and what calls share under policies: breakers, retry budgets, and what metrics tell of them.

Shared is by `Telemetry`: all clients that report to one, however short-lived, learn from each other's calls.
Loads neither the SDK nor an HTTP library.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import nan
from random import Random
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary, ref

from sidecar.client.observer import Defaults
from sidecar.client.timeout_settings import in_force_for
from sidecar.config import ConfigError, policy_tables
from sidecar.model import REJECTING, BreakerState, Profile
from sidecar.policy import (
    BreakerConfig,
    BreakerRegistry,
    BudgetConfig,
    Planner,
    Policy,
    Reason,
    RetryBudget,
    SettingsError,
    Timeouts,
    policies,
)
from sidecar.telemetry.fork import survive_forks

if TYPE_CHECKING:
    from sidecar.client.observer import Observer, Reporter

PolicyLike = Policy | Profile | str | bool
"""What ``policy=`` takes: a policy for all calls; a profile's name, or True, for that of each call's own profile."""

_MOST: Final = 200
"""So many distinct policies, budgets or breakers' series are kept; who makes up more pays by forgetting the oldest."""


class BreakerSeries(Protocol):
    """What is needed of a breaker's series."""

    def state(self, state: BreakerState) -> None:
        """Set the state it is in."""

    def transition(self, before: BreakerState, after: BreakerState) -> None:
        """Count a change of state."""

    def opened(self, reason: str, seconds: float) -> None:
        """Tell why it opened, and for how long."""

    def rejected(self) -> None:
        """Count a call that was not sent."""

    def failure_ratio(self, ratio: float) -> None:
        """Set the share of failures."""


async def _sleep_async(seconds: float) -> None:
    import anyio  # noqa: PLC0415  # comes with the SDK, and runs under whatever loop it does

    await anyio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Time and chance, as policies see them."""

    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep
    asleep: Callable[[float], Awaitable[object]] = _sleep_async
    rng: Random = field(default_factory=Random)


class Shared:
    """What the calls that report to one telemetry share."""

    def __init__(self, telemetry: Any, times: Time) -> None:
        self._telemetry = telemetry
        self.times = times
        self._in_force = in_force_for(telemetry)
        self._begin()
        refresh = getattr(telemetry, "before_collecting", None)
        if refresh is not None:
            refresh(self.refresh)
        survive_forks(self)

    def _begin(self) -> None:
        self._lock = Lock()
        self._registries: dict[BreakerConfig, BreakerRegistry] = {}
        self._budgets: dict[tuple[Profile, BudgetConfig], RetryBudget] = {}
        self._planners: dict[tuple[Profile, Policy], Planner] = {}
        self._series: dict[str, BreakerSeries] = {}

    def before_fork(self) -> None:
        """Do nothing: a child makes everything anew."""

    def after_fork(self, *, child: bool) -> None:
        """Begin anew in a child: whichever thread holds a breaker's lock in the parent is not there to give it back."""
        if not child:
            return
        series, budgets = list(self._series.values()), list(self._budgets)
        self._begin()
        self.times.rng.seed()  # or all children would wait the same, and come back together
        for each in series:
            each.state(BreakerState.CLOSED)
            each.failure_ratio(nan)
        tell = getattr(self._telemetry, "retry_budget", None)
        if tell is not None:
            for profile, _ in budgets:
                tell(profile.value, 1.0)

    def planner(self, profile: Profile, policy: Policy) -> Planner:
        """Give the planner of a policy for calls of a profile."""
        key = (profile, policy)
        planner = self._planners.get(key)
        if planner is None:
            planner = Planner(
                policy,
                breakers=self._registry(policy.breaker),
                budget=self._budget(profile, policy.retry_budget),
                clock=self.times.clock,
                rng=self.times.rng,
            )
            with self._lock:
                _make_room(self._planners)
                planner = self._planners.setdefault(key, planner)
        return planner

    def time_limits(self, profile: Profile, timeouts: Timeouts) -> None:
        """Tell the metrics of the timeouts that a call begins with."""
        if self._in_force.told.get(profile) is not timeouts:
            self._in_force.tell(self._telemetry, profile, timeouts, now=self.times.clock())

    def series(self, name: str) -> BreakerSeries | None:
        """Give the series of a breaker; the first time it is asked for, it begins."""
        series = self._series.get(name)
        if series is None:
            make = getattr(self._telemetry, "breaker", None)
            if make is None:
                return None
            series = make(name)
            series.state(BreakerState.CLOSED)
            with self._lock:
                _make_room(self._series)
                self._series[name] = series
        return series

    def refresh(self) -> None:
        """Tell the metrics how breakers and budgets stand, which time alone can change."""
        with self._lock:
            registries, budgets = list(self._registries.values()), list(self._budgets.items())
        for registry in registries:
            for breaker in registry.all():
                snapshot = breaker.snapshot()
                series = self.series(snapshot.name)
                if series is not None:
                    series.state(snapshot.state)
                    series.failure_ratio(snapshot.counts.failure_ratio)
        levels: dict[str, float] = {}
        for (profile, _), budget in budgets:
            levels[profile.value] = min(budget.level, levels.get(profile.value, 1.0))
        for scope, level in levels.items():
            self._telemetry.retry_budget(scope, level)

    def _registry(self, config: BreakerConfig | None) -> BreakerRegistry | None:
        if config is None:
            return None
        with self._lock:
            if config not in self._registries:
                _make_room(self._registries)
                # Told by the registry itself: the table may have forgotten it by then, while calls still go by it.
                whose: list[ref[BreakerRegistry]] = []
                made = BreakerRegistry(config, on_transition=partial(self._changed, whose), clock=self.times.clock)
                whose.append(ref(made))
                self._registries[config] = made
            return self._registries[config]

    def _budget(self, profile: Profile, config: BudgetConfig | None) -> RetryBudget | None:
        if config is None:
            return None
        with self._lock:
            if (profile, config) not in self._budgets:
                _make_room(self._budgets)
                self._budgets[profile, config] = RetryBudget(**asdict(config), clock=self.times.clock)
            return self._budgets[profile, config]

    def _changed(
        self,
        whose: "list[ref[BreakerRegistry]]",
        name: str,
        before: BreakerState,
        after: BreakerState,
        reason: Reason,
    ) -> None:
        series, registry = self.series(name), whose[0]()
        if series is None:
            return
        series.transition(before, after)
        if after in REJECTING and registry is not None:
            host, _, model = name.partition("/")
            series.opened(reason.value, registry.get(host, model).rejects_for())


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policies of a client, or of a whole process."""

    choice: Policy | Mapping[Profile, Policy]
    """One for all calls, or one for each profile."""
    shared: Shared

    def policy(self, profile: Profile) -> Policy:
        """Give the policy of calls of a profile."""
        return self.choice if isinstance(self.choice, Policy) else self.choice[profile]

    def planner(self, profile: Profile, *, timeouts: Timeouts | None, attempts: int | None) -> Planner:
        """Give the planner of a call; ``timeouts`` and ``attempts`` are what the application gave with it."""
        policy = self.policy(profile)
        planner = self.shared.planner(profile, policy)
        self.shared.time_limits(profile, timeouts or policy.timeouts)
        if timeouts is None and attempts is None:
            return planner
        policy = replace(
            policy,
            timeouts=timeouts or policy.timeouts,
            retry=policy.retry if attempts is None else replace(policy.retry, max_attempts=attempts),
        )
        times = self.shared.times
        return Planner(
            replace(policy, breaker=None, retry_budget=None),
            breakers=planner.breakers,
            budget=planner.budget,
            clock=times.clock,
            rng=times.rng,
        )


OFF: Final = False
"""Stands for: no policy, whatever `configure` says."""


def chosen(policy: PolicyLike | None, telemetry: "Reporter") -> Policies | bool | None:
    """Make what an observer holds of what ``policy=`` was given; None: what `configure` says."""
    if policy is None:
        return None
    if policy is False:
        return OFF
    if isinstance(policy, Policy):
        return Policies(choice=policy, shared=shared_by(telemetry))
    if policy is not True:
        parse(policy)
    return Policies(choice=Defaults.table or configured(), shared=shared_by(telemetry))


def profile_for(policy: PolicyLike | None) -> Profile | None:
    """Say which profile a client's calls have by default, when this is its policy."""
    if policy is None or isinstance(policy, bool):
        return None
    return policy.profile if isinstance(policy, Policy) else parse(policy)


def parse(policy: Profile | str) -> Profile:
    """Read the name of a policy: a profile's."""
    try:
        return Profile(policy)
    except ValueError:
        known = ", ".join(Profile)
        raise ValueError(
            f"there is no policy {policy!r}: give a sidecar.Policy, True, False, or the name of a profile ({known})"
        ) from None


def configured(file: Any = None) -> Mapping[Profile, Policy]:
    """Read the policies of all profiles from the configuration file, over those each has without one."""
    path, table = policy_tables(file=file)
    try:
        return policies(table)
    except SettingsError as error:
        raise ConfigError([f"{path}: {name} {problem}" for name, problem in error.faults]) from None


def in_force(observer: "Observer") -> Policies | None:
    """Give the policies a client's calls are under; None: they are observed only."""
    own = observer.policies
    if own is not None:
        return own if isinstance(own, Policies) else None
    table = Defaults.policies
    if table is None:
        return None
    return Policies(choice=table, shared=shared_by(observer.telemetry))


_SHARED: "Final[WeakKeyDictionary[Reporter, ref[Shared]]]" = WeakKeyDictionary()
_SHARED_LOCK: Final = Lock()


def shared_by(telemetry: "Reporter") -> Shared:
    """Find or make what those who report to this telemetry share. It lives as long as one of them, or the telemetry."""
    with _SHARED_LOCK:
        try:
            known = _SHARED.get(telemetry)
        except TypeError:  # a reporter of the application's own that cannot be told apart
            return Shared(telemetry, Time())
        shared = None if known is None else known()
        if shared is None:
            shared = Shared(telemetry, Time())
            _SHARED[telemetry] = ref(shared)
        return shared


def _make_room(table: dict[Any, Any]) -> None:
    while len(table) >= _MOST:
        del table[next(iter(table))]
