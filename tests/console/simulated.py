"""A console with an hour of simulated traffic behind it, for tests and pictures of the page."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from sidecar.admin import Address, AdminServer, Readiness, standard_routes
from sidecar.console import Console, Token
from sidecar.model import BreakerState
from sidecar.telemetry import Telemetry
from tests.support.traffic import HOST, SCENARIOS, Fleet, Traffic


def simulated(
    scenario: str,
    end: float,
    *,
    hours: float = 1.0,
    fleet: Fleet | None = None,
    token: Token | None = None,
) -> tuple[Console, Traffic]:
    """Let the traffic happen up to ``end``, and return the console that watched it."""
    traffic = Traffic(SCENARIOS[scenario], fleet or Fleet(), start=end - hours * 3600, end=end)
    console = Console(traffic.telemetry, mode="collect", token=token, wall=lambda: traffic.now)
    for _ in traffic.pages(60.0):
        pass
    for name, state in _states(traffic).items():
        if state == BreakerState.OPEN:
            traffic.telemetry.breaker(name).opened("failure_ratio", 42.0)
    return console, traffic


def _states(traffic: Traffic) -> dict[str, str]:
    values = traffic.telemetry.values("claude_breaker_state")
    return {labels["breaker"]: labels["state"] for labels, value in values if value and HOST in labels["breaker"]}


@contextmanager
def served(console: Console, telemetry: Telemetry, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve a console from a thread with a loop of its own, and return where."""
    server = AdminServer(Address(host, 0), standard_routes(telemetry, Readiness(), console=console))
    started: Future[asyncio.AbstractEventLoop] = Future()
    stopping = asyncio.Event()

    async def serve() -> None:
        await server.start()
        started.set_result(asyncio.get_running_loop())
        await stopping.wait()
        await server.stop(20)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    loop = started.result(60)
    try:
        yield f"http://{server.address}"
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
