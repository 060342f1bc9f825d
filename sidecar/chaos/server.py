"""The server's life: listens, refuses while the scenario says so, and leaves nothing behind when it stops."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Final

from sidecar.chaos.app import App
from sidecar.chaos.protocol import Connection
from sidecar.chaos.scenario import Moment, Scenario
from sidecar.chaos.truth import MAX_ATTEMPTS, Truth
from sidecar.chaos.wheel import Wheel

__all__ = ["ChaosServer", "ListenError"]

_BACKLOG: Final = 2_048
_GLANCE: Final = 0.05
"""How often, in seconds, the scenario is asked whether connections are refused."""


class ListenError(OSError):
    """The address cannot be listened on: says which, why, and what to do."""


class ChaosServer:
    """A fake Claude API on one port. To be started and closed in one running event loop."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int = 0,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.scenario = scenario
        self.wheel = Wheel(loop)
        self.truth = Truth(time.time, self.wheel.now, max_attempts)
        self.app = App(scenario, seed=seed, truth=self.truth, moment=self.moment, wall=time.time)
        self._connections: set[Connection] = set()
        self.address: tuple[str, int] = ("", 0)
        self._loop = loop
        self._clock = clock
        self._speed = speed
        self._epoch = clock()
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._glance: asyncio.Task[None] | None = None
        self._closed = False
        self._following = asyncio.Lock()
        self._all_left = asyncio.Event()
        self._all_left.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.truth.on_idle = self._idle.set

    @property
    def url(self) -> str:
        """What clients set as their base URL."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def refusing(self) -> bool:
        """Whether connections are refused at this moment."""
        return self.moment().phase.refuse

    def joined(self, connection: Connection) -> None:
        """Take a new connection in."""
        self._connections.add(connection)
        self._all_left.clear()
        if self._closed:
            connection.stop()  # it was accepted in the very moment of closing

    def left(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_left.set()

    def moment(self) -> Moment:
        """Tell where on its timeline the scenario is."""
        return self.scenario.at((self._clock() - self._epoch) * self._speed)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; raise ListenError, with nothing left open, where that cannot be."""
        try:
            self._reserved = _bound(host, port)
            self.address = (host, self._reserved.getsockname()[1])
            await self._listen()
        except OSError as error:
            await self.close()
            raise ListenError(
                error.errno,
                f"cannot listen on {host}:{port}: {error.strerror or error}: choose another address, "
                "or port 0 for any free one",
            ) from None
        await self.follow()
        if any(phase.refuse for phase in self.scenario.phases):
            self._glance = self._loop.create_task(self._keep_following())

    async def follow(self) -> None:
        """Listen, or refuse, as the scenario now says; done on its own too, many times a second."""
        async with self._following:
            if not self.refusing:
                await self._listen()
            elif self._server is not None:
                server, self._server = self._server, None
                server.close()
                for connection in tuple(self._connections):
                    connection.close_when_idle()

    async def settled(self, count: int = 0) -> None:
        """Wait until at least ``count`` attempts have come and none is under way."""
        while self.truth.under_way or self.truth.total < count:
            self._idle.clear()
            await self._idle.wait()

    async def close(self) -> None:
        """Stop at once: what is under way is cut, and everything is given back."""
        self._closed = True
        if self._glance is not None:
            self._glance.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._glance
            self._glance = None
        for connection in tuple(self._connections):
            connection.stop()
        self.wheel.close()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        # Aborted transports call connection_lost in the loop's next turns.
        await self._all_left.wait()

    async def _listen(self) -> None:
        if self._server is not None:
            return
        sock = _bound(*self.address)
        try:
            self._server = await self._loop.create_server(lambda: Connection(self), sock=sock, backlog=_BACKLOG)
        except OSError:
            sock.close()
            raise

    async def _keep_following(self) -> None:
        while True:
            await self.follow()
            await asyncio.sleep(_GLANCE)


def _bound(host: str, port: int) -> socket.socket:
    """Bind without listening. A bound port is nobody else's, yet connecting to it is refused until one listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003  # the name says it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
