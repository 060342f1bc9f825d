"""`sidecar collect`: takes what the processes of this machine send to the socket, and serves it as one target.

It owns the order of things: nothing is half-started, and what was received is counted before the process ends.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.admin import Address, AdminServer, Readiness, open_console, standard_routes, watch_event_loop
from sidecar.telemetry import Telemetry
from sidecar.telemetry.socket import Receiver

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where to collect from and where to show it."""

    admin: Address
    socket: Path | None = None
    socket_mode: int = 0o600


async def collect(
    settings: Settings,
    *,
    telemetry: Telemetry | None = None,
    started: Callable[[Path, Address], None] = lambda _socket, _admin: None,
) -> None:
    """Run until SIGTERM or SIGINT. Raises `SocketError` or `AdminError`, having started nothing.

    ``started`` is told the socket and the address once both are there.
    """
    telemetry = telemetry or Telemetry()
    stopping = asyncio.Event()
    receiver = Receiver(telemetry, settings.socket, mode=settings.socket_mode)
    readiness = Readiness()
    readiness.add("stopping", lambda: "the sidecar is shutting down" if stopping.is_set() else None)
    readiness.add("socket", lambda: None if receiver.is_there() else f"{receiver.path} is gone: restart the sidecar")
    console = open_console(telemetry, settings.admin, mode="collect")
    admin = AdminServer(settings.admin, standard_routes(telemetry, readiness, console=console))
    loop = asyncio.get_running_loop()
    receiver.open()
    try:
        await admin.start()
        loop.add_reader(receiver.fileno(), receiver.drain)
        for number in _SIGNALS:
            loop.add_signal_handler(number, stopping.set)
        lag = asyncio.create_task(watch_event_loop(telemetry))
        started(receiver.path, admin.address)
        try:
            await stopping.wait()
        finally:
            for number in _SIGNALS:  # a second signal ends it at once
                loop.remove_signal_handler(number)
            lag.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await lag
            loop.remove_reader(receiver.fileno())
    finally:
        # First the socket: what was sent before is counted, what comes after waits at its sender for a successor.
        receiver.close()
        await admin.stop()
