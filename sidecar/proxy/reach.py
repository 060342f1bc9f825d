"""Whether upstreams can be reached: tried when somebody asks, and not more often than that is news.

A try takes a connection from the pool, or has one made, and puts it back: TCP and TLS are gone through, no request is
sent, and an idle proxy that is asked all the time keeps one connection warm.
"""

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.proxy.errors import Fault
from sidecar.proxy.pool import Pool
from sidecar.proxy.upstream import Upstream

NEWS_SECONDS: Final = 5.0
"""How long what was found out holds."""


class _Try:
    """One upstream, and what came of the last try."""

    def __init__(self, pool: Pool, problem: str | None) -> None:
        self._pool = pool
        self._due = pool.now()
        self._under_way = False
        self.problem = problem

    def after(self, pool: Pool) -> "_Try":
        """Go on with the pool in force; what is known of an upstream holds until something else is."""
        return self if pool is self._pool else _Try(pool, self.problem)

    def begin(self) -> None:
        if self._under_way or self._pool.now() < self._due:
            return
        self._under_way = True
        upstream = self._pool.acquire(self)
        if upstream is not None:
            self.connected(upstream)

    def connected(self, upstream: Upstream) -> None:
        self._over(None)
        upstream.uses = max(1, upstream.uses)  # it rests like any other: what a request loses on it is sent again
        self._pool.release(upstream)

    def not_connected(self, fault: Fault) -> None:
        self._over(fault.message)

    def _over(self, problem: str | None) -> None:
        self.problem = problem
        self._under_way = False
        self._due = self._pool.now() + NEWS_SECONDS


class Reach:
    """Says whether there is an upstream to send requests to. ``pools`` gives those in force, by name."""

    def __init__(self, pools: Callable[[], Mapping[str, Pool]]) -> None:
        self._pools = pools
        self._tries: dict[str, _Try] = {}

    def problem(self) -> str | None:
        """Say why no upstream can be reached, as far as known, and have it looked into."""
        before = self._tries
        self._tries = {
            name: before[name].after(pool) if name in before else _Try(pool, "not yet known")
            for name, pool in self._pools().items()
        }
        for each in self._tries.values():
            each.begin()
        problems = [f"{name}: {each.problem}" for name, each in self._tries.items() if each.problem]
        return "; ".join(problems) if len(problems) == len(self._tries) else None
