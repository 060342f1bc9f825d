"""The proxy itself: its listeners, its clients, its upstream, and how many of each there may be."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sidecar.model import Profile
from sidecar.proxy.connect import Connector
from sidecar.proxy.downstream import Downstream
from sidecar.proxy.errors import Fault
from sidecar.proxy.exchange import Exchange
from sidecar.proxy.headers import RequestHead
from sidecar.proxy.limits import Limits
from sidecar.proxy.observe import Observer, ProfileRule, Sight
from sidecar.proxy.origin import ForwardProxy, Origin
from sidecar.proxy.pool import Pool
from sidecar.proxy.tls import client_context
from sidecar.proxy.wheel import Wheel
from sidecar.telemetry import Telemetry

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


class Proxy:
    """A running proxy. Make it inside the loop that runs it. Without ``telemetry`` it looks at nothing."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.limits = settings.limits
        self.wheel = Wheel(self._loop)
        tls = client_context(settings.ca_file) if settings.upstream.tls else None
        connector = Connector(self._loop, settings.upstream, settings.limits, tls=tls, via=settings.via)
        self.pool = Pool(self._loop, self.wheel, settings.upstream, connector, settings.limits)
        self._observer = None
        if telemetry is not None:
            self._observer = Observer(
                telemetry,
                self.wheel,
                settings.upstream,
                profile=settings.profile,
                rules=settings.profile_rules,
                clock=clock,
                wall=wall,
            )
        self._servers: list[asyncio.Server] = []
        self._clients: set[Downstream] = set()
        self._busy: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self.in_flight = 0
        """Requests under way."""
        self.draining = False
        """No new connections are taken."""

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

    async def close(self) -> None:
        """Close everything at once."""
        self.draining = True
        for server in self._servers:
            server.close()
        for client in list(self._clients):
            client.abort()
        await self._empty.wait()
        self.pool.close()
        if self._observer is not None:
            self._observer.close()
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

    def sight(self, client: Downstream, head: RequestHead) -> Sight | None:
        """Begin to look at a request, if anybody does."""
        return None if self._observer is None else self._observer.sight(head, client.profile)

    def admit(self, client: Downstream, exchange: Exchange) -> Pool:  # routes will ask for it
        """Let a request in and say where it goes; raises Fault where there are too many."""
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
        return self.pool

    def settled(self, client: Downstream, exchange: Exchange) -> None:
        """Count a request's end."""
        if not exchange.admitted:
            return
        self.in_flight -= 1
        if self.limits.per_client:
            self._busy[client.client] -= 1
            if not self._busy[client.client]:
                del self._busy[client.client]
