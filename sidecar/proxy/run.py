"""`sidecar proxy` as a process: what is started in which order, what signals do, and that nothing is half-started."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from typing import Final

from sidecar.admin import AdminServer, Readiness, standard_routes, watch_event_loop
from sidecar.model import Source
from sidecar.proxy.listening import Listening
from sidecar.proxy.reach import Reach
from sidecar.proxy.server import Proxy
from sidecar.proxy.settings import Config
from sidecar.telemetry import Telemetry

_log: Final = logging.getLogger("sidecar.proxy")
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)

Started = Callable[[list[Listening], AdminServer], None]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make the fastest event loop there is here."""
    try:
        import uvloop  # noqa: PLC0415  # not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def serve(config: Config, *, started: Started) -> None:
    """Run until SIGTERM or SIGINT. Raises `ListenError` or `AdminError`, having started nothing.

    ``started`` is told the places and the admin server once all are there.
    """
    telemetry = Telemetry(source=Source.PROXY)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    places: list[Listening] = []
    try:
        for listener in config.listeners:
            places.append(Listening(listener.place, mode=config.socket_mode))  # noqa: PERF401  # closed when one fails
        proxy = Proxy(config.proxy, telemetry)
        reach = Reach(lambda: proxy.pools)
        readiness = Readiness()
        readiness.add("stopping", lambda: "the proxy is draining" if stopping.is_set() else None)
        readiness.add("upstreams", reach.problem)
        admin = AdminServer(config.admin, standard_routes(telemetry, readiness))
        await admin.start()
        for number in _STOPPING:
            loop.add_signal_handler(number, stopping.set)
        reach.problem()
        lag = asyncio.create_task(watch_event_loop(telemetry))
        try:
            for place, listener in zip(places, config.listeners, strict=True):
                for sock in place.sockets:
                    await proxy.listen(sock, listener.profile)
            started(places, admin)
            await stopping.wait()
            for number in _STOPPING:  # a second signal ends it at once
                loop.remove_signal_handler(number)
            _log.info("draining: %d requests under way may take %g s", proxy.in_flight, config.drain_seconds)
            cut = await proxy.drain(config.drain_seconds)
            if cut:
                _log.warning("%d connections were cut off: they took longer than %g s", cut, config.drain_seconds)
        finally:
            await proxy.close()
            lag.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await lag
            await admin.stop()
    finally:
        for place in places:
            place.close()
