"""The connections to one upstream: those at rest, those being made, and the exchanges that wait for one.

The newest resting connection is used first, so that a pool that has become too large shrinks by itself.
"""

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

from sidecar.proxy.alike import Alike
from sidecar.proxy.connect import Connector
from sidecar.proxy.errors import Fault
from sidecar.proxy.limits import Limits
from sidecar.proxy.origin import Origin
from sidecar.proxy.upstream import Upstream
from sidecar.proxy.wheel import Timer, Wheel

_log: Final = logging.getLogger(__name__)


class Waiting(Protocol):
    """Who asks for a connection."""

    def connected(self, upstream: Upstream) -> None:
        """Take the connection; it is the taker's until it is released or closed."""

    def not_connected(self, fault: Fault) -> None:
        """There will be none."""


class Pool:
    """One upstream's connections."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wheel: Wheel,
        origin: Origin,
        connector: Connector,
        limits: Limits,
        *,
        preserve_host: bool = False,
    ) -> None:
        self._loop = loop
        self._wheel = wheel
        self._connector = connector
        self.limits = limits
        self.origin = origin
        self.authority = b"" if preserve_host else origin.authority
        """What the host header says; empty where it is the client's own."""
        self.prefix = origin.prefix.encode("ascii")
        self.now = wheel.now
        self.alike: Final = Alike()
        """What the heads of its answers look like."""
        self._resting: list[Upstream] = []
        self._waiting: deque[Waiting] = deque()
        self._dials: dict[Upstream, asyncio.Task[None]] = {}
        self._open: set[Upstream] = set()
        self._queue_timers: dict[Waiting, Timer] = {}
        self._closed = False

    @property
    def size(self) -> int:
        """Connections that are open or being made."""
        return len(self._open) + len(self._dials)

    def acquire(self, waiting: Waiting, *, fresh: bool = False) -> Upstream | None:
        """Give a connection at once, or None and one later. ``fresh`` refuses those that have been used."""
        if self._resting and not fresh:
            return self._resting.pop()
        self._waiting.append(waiting)
        if fresh or len(self._dials) < len(self._waiting):
            if self.size < self.limits.upstream_connections:
                self._dial()
            else:
                timer = self._wheel.timer(lambda: self._give_up(waiting))
                timer.after(self.limits.pool_seconds)
                self._queue_timers[waiting] = timer
        return None

    def forget(self, waiting: Waiting) -> None:
        """Stop waiting."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            self._served(waiting)
        while len(self._dials) > len(self._waiting):
            _, task = self._dials.popitem()
            task.cancel()

    def answered(self, upstream: Upstream) -> None:
        """Note that the first answer on a connection has begun: by now its TLS session can be taken up by others."""
        tls = upstream.tls_object()
        if self._connector.tls is not None and tls is not None:
            self._connector.tls.answered(tls)

    def release(self, upstream: Upstream) -> None:
        """Take back a connection on which an exchange has ended well."""
        if self._waiting:
            self._serve(upstream)
        elif self._closed or len(self._resting) >= self.limits.idle_connections:
            upstream.close()
        else:
            upstream.rest(self._wheel.now())
            self._resting.append(upstream)

    def lost(self, upstream: Upstream) -> None:
        """Forget a connection that is closed, whoever closed it."""
        self._open.discard(upstream)
        if upstream in self._resting:
            self._resting.remove(upstream)
        if len(self._waiting) > len(self._dials) and self.size < self.limits.upstream_connections:
            self._dial()

    def retire(self) -> None:
        """Close what rests, and keep nothing any more; who uses or awaits a connection is served to the end."""
        self._closed = True
        for upstream in list(self._resting):
            upstream.close()

    @property
    def idle(self) -> bool:
        """Whether nobody uses or awaits a connection."""
        return not (self._waiting or self.size)

    def close(self) -> None:
        """Close what rests, stop what is being made, and refuse those who wait."""
        self._closed = True
        for upstream in list(self._resting):
            upstream.close()
        while self._dials:
            _, task = self._dials.popitem()
            task.cancel()
        while self._waiting:
            self._refuse(self._waiting[0], Fault("no_connection", "the proxy is shutting down"))

    def _dial(self) -> None:
        upstream = Upstream(self, self._wheel, self.limits)
        task = self._loop.create_task(self._connector.connect(upstream))
        self._dials[upstream] = task
        task.add_done_callback(lambda task: self._dialled(upstream, task))

    def _dialled(self, upstream: Upstream, task: asyncio.Task[None]) -> None:
        fault = None if task.cancelled() else task.exception()
        if self._dials.pop(upstream, None) is None:  # nobody needs it any more, though it may just have succeeded
            upstream.abort()
        elif isinstance(fault, Fault):
            self._refuse_first(fault)
        elif fault is not None:
            _log.error("connecting to the upstream failed in a way nobody foresaw", exc_info=fault)
            self._refuse_first(Fault("upstream_unreachable", "connecting failed inside the proxy; its log says how"))
        elif upstream.is_open:
            self._open.add(upstream)
            upstream.rested_at = self._wheel.now()
            self.release(upstream)
        else:
            self._refuse_first(Fault("upstream_closed", "the upstream closed a new connection at once"))

    def _refuse_first(self, fault: Fault) -> None:
        if self._waiting:
            self._refuse(self._waiting[0], fault)

    def _serve(self, upstream: Upstream) -> None:
        waiting = self._waiting.popleft()
        self._served(waiting)
        waiting.connected(upstream)

    def _refuse(self, waiting: Waiting, fault: Fault) -> None:
        self._waiting.remove(waiting)
        self._served(waiting)
        waiting.not_connected(fault)

    def _give_up(self, waiting: Waiting) -> None:
        if waiting in self._waiting:
            self._refuse(
                waiting,
                Fault(
                    "no_connection",
                    f"all {self.limits.upstream_connections} connections to the upstream stayed in use for "
                    f"{self.limits.pool_seconds:g} s",
                    retry_after=1,
                ),
            )

    def _served(self, waiting: Waiting) -> None:
        timer = self._queue_timers.pop(waiting, None)
        if timer is not None:
            timer.close()
