"""The proxy itself: its listeners, its clients, its upstream, and how many of each there may be."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.model import Profile
from sidecar.proxy.connect import Connector
from sidecar.proxy.correlate import Calls, Correlation
from sidecar.proxy.downstream import Downstream
from sidecar.proxy.errors import Fault
from sidecar.proxy.exchange import Exchange
from sidecar.proxy.headers import DEFAULT, RequestHead
from sidecar.proxy.later import Later
from sidecar.proxy.limits import Limits
from sidecar.proxy.observe import Observer, ProfileRule
from sidecar.proxy.origin import ForwardProxy, Origin
from sidecar.proxy.pool import Pool
from sidecar.proxy.roles import Served
from sidecar.proxy.routes import Router, Target
from sidecar.proxy.tls import client_context
from sidecar.proxy.traces import CallSpans
from sidecar.proxy.wheel import Wheel
from sidecar.telemetry import Telemetry

if TYPE_CHECKING:
    from sidecar.proxy.protect.settings import Protection
    from sidecar.proxy.protect.shield import Shield

BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a proxy is made from."""

    upstream: Origin
    via: ForwardProxy | None = None
    """The forward proxy on the way, if any."""
    ca_file: str | None = None
    """Certificates to trust in place of the system's."""
    limits: Limits = field(default_factory=Limits)
    profile: Profile = Profile.DEFAULT
    """The use that requests serve unless they or a rule say otherwise."""
    profile_rules: tuple[ProfileRule, ...] = ()
    protection: "Protection | None" = None
    """None: nothing is limited, tried again or refused but by ``limits``."""
    others: tuple[Target, ...] = ()
    """Further upstreams, for the requests that name them or have their routes."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every upstream, the default one first."""
        return (Target(origin=self.upstream, via=self.via, ca_file=self.ca_file), *self.others)


class _Way(NamedTuple):
    """What serves and sees the requests to one upstream."""

    target: Target
    pool: Pool
    observer: Observer | None


class Proxy:
    """A running proxy. Make it inside the loop that runs it.

    Without ``telemetry`` it looks at nothing, and so can protect nothing.
    ``calls`` puts attempts together to calls, where that is done outside of this process.
    """

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry | None = None,
        *,
        calls: Correlation | None = None,
        spans: CallSpans | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._telemetry = telemetry
        self._spans = spans
        self._clock = clock
        self._wall = wall
        self.wheel = Wheel(self._loop)
        self._later = None if telemetry is None else Later(self._loop, self.wheel, telemetry)
        self._calls = calls
        if calls is None and telemetry is not None:
            self._calls = Calls(self.wheel, telemetry.call)
        self._ways: dict[str, _Way] = {}
        self._retired: list[Pool] = []
        self.shield: Shield | None = None
        """Protection at work, if there is any."""
        self.apply(settings)
        self._servers: list[asyncio.Server] = []
        self._clients: set[Downstream] = set()
        self._busy: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self.in_flight = 0
        """Requests under way."""
        self.draining = False
        """No new connections are taken."""

    def apply(self, settings: Settings) -> None:
        """Work by these settings from now on. Requests under way end as they began."""
        self._protect(settings.protection)
        before = dict(self._ways)
        ways = {}
        for target in settings.targets:
            old = before.get(target.name)
            # A file of certificates may have changed though its name has not.
            if old is not None and old.target == target and not target.ca_file and old.pool.limits == settings.limits:
                pool = before.pop(target.name).pool
            else:
                pool = self._make_pool(target, settings.limits)
            ways[target.name] = _Way(target, pool, self._make_observer(target, settings))
        self._ways, self._router, self.limits = ways, Router(settings.targets), settings.limits
        self._retired = [pool for pool in self._retired if not pool.idle]
        for old in before.values():
            old.pool.retire()
            self._retired.append(old.pool)

    def _protect(self, protection: "Protection | None") -> None:
        """Protect by these settings; what breakers and budgets know is kept as long as nothing of them changes."""
        before = self.shield
        if before is not None and before.settings == protection:
            return
        if before is not None:
            before.close()
        self.shield = None
        if protection is not None and self._telemetry is not None:
            from sidecar.proxy.protect.shield import Shield  # noqa: PLC0415  # with all that protects: few ask for it

            self.shield = Shield(protection, self._telemetry, self.wheel, clock=self._clock, wall=self._wall)

    def _make_pool(self, target: Target, limits: Limits) -> Pool:
        tls = client_context(target.ca_file) if target.origin.tls else None
        connector = Connector(self._loop, target.origin, limits, tls=tls, via=target.via)
        return Pool(self._loop, self.wheel, target.origin, connector, limits, preserve_host=target.preserve_host)

    def _make_observer(self, target: Target, settings: Settings) -> Observer | None:
        if self._telemetry is None or self._later is None or self._calls is None:
            return None
        return Observer(
            self._telemetry,
            target.origin,
            later=self._later,
            calls=self._calls,
            shape=target.shape,
            profile=settings.profile,
            rules=settings.profile_rules,
            spans=self._spans,
            clock=self._clock,
            wall=self._wall,
        )

    @property
    def pool(self) -> Pool:
        """The default upstream's connections."""
        return self._ways[DEFAULT].pool

    @property
    def pools(self) -> dict[str, Pool]:
        """Each upstream's connections, by its name."""
        return {name: way.pool for name, way in self._ways.items()}

    @property
    def connections(self) -> int:
        """Clients' connections."""
        return len(self._clients)

    async def listen(self, sock: socket.socket, profile: Profile | None = None) -> None:
        """Take clients on this socket, which is bound already; ``profile`` is what their requests are for."""
        create = self._loop.create_unix_server if sock.family == socket.AF_UNIX else self._loop.create_server
        self._servers.append(await create(lambda: Downstream(self, profile), sock=sock, backlog=BACKLOG))

    async def drain(self, seconds: float) -> int:
        """Take no new clients, let what is under way end; then cut the rest off. Returns how many were cut off."""
        self.draining = True
        for server in self._servers:
            server.close()
        for client in list(self._clients):
            client.drain()
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            pass
        cut = len(self._clients)
        await self.close()
        return cut

    def settle(self) -> None:
        """Make and count the records of all that has ended."""
        if self._later is not None:
            self._later.settle()

    async def close(self) -> None:
        """Close everything at once."""
        self.draining = True
        for server in self._servers:
            server.close()
        for client in list(self._clients):
            client.abort()
        await self._empty.wait()
        for pool in (*self.pools.values(), *self._retired):
            pool.close()
        if self.shield is not None:
            self.shield.close()
        self.settle()
        if self._calls is not None:
            self._calls.close()
        self.wheel.close()
        for server in self._servers:
            await server.wait_closed()

    # --- what a client's connection asks for

    def soon(self, callback: Callable[[], None]) -> None:
        """Call this in the next turn of the loop."""
        self._loop.call_soon(callback)

    def opened(self, client: Downstream) -> Fault | None:
        """Count a new connection; a fault where there are too many."""
        self._clients.add(client)
        self._empty.clear()
        if len(self._clients) > self.limits.connections:
            return Fault("too_many_connections", f"more than {self.limits.connections} connections", retry_after=1)
        return None

    def closed(self, client: Downstream) -> None:
        """Count a connection's end."""
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()

    def route(self, head: RequestHead) -> RequestHead:
        """Choose where a request goes."""
        return self._router.choose(head)

    def exchange_for(self, client: Downstream, head: RequestHead) -> Served:
        """Make the exchange that will serve a request, looked at if anybody looks."""
        observer = (self._ways.get(head.upstream) or self._ways[DEFAULT]).observer
        if observer is None:
            return Exchange(client, head)
        if self.shield is not None:
            protected = self.shield.exchange_for(client, head, observer)
            if protected is not None:
                return protected
        return Exchange(client, head, observer.sight(head, client.profile))

    def admit(self, client: Downstream, exchange: Served) -> Pool:
        """Let a request in and say where it goes; raises Fault where there are too many, or there is no such place."""
        way = self._ways.get(exchange.head.upstream)
        if way is None:
            raise Fault("unknown_upstream", "there is no upstream of the name in x-sidecar-upstream")
        limits = self.limits
        if self.in_flight >= limits.in_flight:
            raise Fault("too_many_requests", f"{limits.in_flight} requests are under way already", retry_after=1)
        if limits.per_client:
            if self._busy[client.client] >= limits.per_client:
                raise Fault(
                    "too_many_requests",
                    f"{limits.per_client} requests of this client are under way already",
                    retry_after=1,
                )
            self._busy[client.client] += 1
        self.in_flight += 1
        exchange.admitted = True
        return way.pool

    def settled(self, client: Downstream, exchange: Served) -> None:
        """Count a request's end."""
        if not exchange.admitted:
            return
        self.in_flight -= 1
        if self.limits.per_client:
            self._busy[client.client] -= 1
            if not self._busy[client.client]:
                del self._busy[client.client]
