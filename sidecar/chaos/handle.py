"""`chaos_server()`: the server for tests and demos, as a context manager, with or without an event loop of one's own.

Two thin shells over one server: `async with` runs it in the caller's loop, `with` in a thread of its own.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sidecar.chaos.faults import parse_sequence
from sidecar.chaos.loop import new_event_loop
from sidecar.chaos.scenario import Scenario
from sidecar.chaos.scenario_file import load_scenario
from sidecar.chaos.server import ChaosServer
from sidecar.chaos.truth import MAX_ATTEMPTS, Attempt

__all__ = ["AsyncChaos", "Chaos", "chaos_server"]

_T = TypeVar("_T")
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    scenario: Scenario
    seed: int
    speed: float
    host: str
    port: int
    clock: Callable[[], float]
    max_attempts: int

    async def start(self) -> ChaosServer:
        server = ChaosServer(
            self.scenario, seed=self.seed, speed=self.speed, clock=self.clock, max_attempts=self.max_attempts
        )
        await server.start(self.host, self.port)
        return server


class AsyncChaos:
    """A running server in the caller's event loop."""

    def __init__(self, server: ChaosServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        """The base URL."""
        return self._server.url

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self._server.address

    def attempts(self) -> tuple[Attempt, ...]:
        """Return every attempt, in the order they arrived; those under way too."""
        return self._server.truth.attempts()

    def counts(self) -> dict[str, Any]:
        """Count all attempts."""
        return self._server.truth.counts()

    def enqueue(self, faults: str) -> None:
        """Give these faults (``"529,529,ok"``) to the next requests that bring no ``x-chaos`` of their own."""
        self._server.app.forced.enqueue(parse_sequence(faults))

    def reset(self) -> None:
        """Start over: request numbers, truth, batches, queued faults."""
        self._server.app.reset()

    async def settled(self, count: int = 0, *, timeout: float = _PATIENCE) -> tuple[Attempt, ...]:  # noqa: ASYNC109  # as the sync one
        """Wait until at least ``count`` attempts have come and none is under way; return them all."""
        await asyncio.wait_for(self._server.settled(count), timeout)
        return self.attempts()

    async def follow(self) -> None:
        """Look at the (injected) clock now: begin or stop refusing connections as the scenario says."""
        await self._server.follow()


class Chaos:
    """A running server in a thread of its own."""

    def __init__(self, server: ChaosServer, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = AsyncChaos(server)
        self._loop = loop

    @property
    def url(self) -> str:
        """The base URL."""
        return self._inner.url

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self._inner.address

    def attempts(self) -> tuple[Attempt, ...]:
        """Return every attempt, in the order they arrived; those under way too."""
        return self._call(self._inner.attempts)

    def counts(self) -> dict[str, Any]:
        """Count all attempts."""
        return self._call(self._inner.counts)

    def enqueue(self, faults: str) -> None:
        """Give these faults (``"529,529,ok"``) to the next requests that bring no ``x-chaos`` of their own."""
        self._call(lambda: self._inner.enqueue(faults))

    def reset(self) -> None:
        """Start over: request numbers, truth, batches, queued faults."""
        self._call(self._inner.reset)

    def settled(self, count: int = 0, *, timeout: float = _PATIENCE) -> tuple[Attempt, ...]:
        """Wait until at least ``count`` attempts have come and none is under way; return them all."""
        return self._wait(self._inner.settled(count, timeout=timeout))

    def follow(self) -> None:
        """Look at the (injected) clock now: begin or stop refusing connections as the scenario says."""
        self._wait(self._inner.follow())

    def _call(self, function: Callable[[], _T]) -> _T:
        async def call() -> _T:  # to run it in the loop's thread
            return function()

        return self._wait(call())

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE * 2)


class chaos_server:  # noqa: N801  # used like a function
    """A fake Claude API that misbehaves on command, for as long as the block runs.

    ``with chaos_server() as chaos: Anthropic(base_url=chaos.url, api_key="any")``; the same with ``async with``.
    The default scenario answers at once and never fails on its own: faults come by the header ``x-chaos``.
    """

    def __init__(
        self,
        scenario: str | Path | Scenario = "instant",
        *,
        seed: int = 0,
        speed: float = 1.0,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._options = _Options(
            scenario=scenario if isinstance(scenario, Scenario) else load_scenario(scenario),
            seed=seed,
            speed=speed,
            host=host,
            port=port,
            clock=clock,
            max_attempts=max_attempts,
        )
        self._server: ChaosServer | None = None
        self._exit = contextlib.ExitStack()

    async def __aenter__(self) -> AsyncChaos:
        self._server = await self._options.start()
        return AsyncChaos(self._server)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None  # noqa: S101  # entered
        await self._server.close()

    def __enter__(self) -> Chaos:
        runner = self._exit.enter_context(asyncio.Runner(loop_factory=new_event_loop))
        loop = runner.get_loop()
        thread = threading.Thread(target=_run, args=(loop,), name="sidecar-chaos", daemon=True)
        thread.start()

        def leave() -> None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

        self._exit.callback(leave)
        try:
            server = asyncio.run_coroutine_threadsafe(self._options.start(), loop).result(_PATIENCE)
        except BaseException:
            self._exit.close()
            raise
        self._exit.callback(lambda: asyncio.run_coroutine_threadsafe(server.close(), loop).result(_PATIENCE))
        return Chaos(server, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
