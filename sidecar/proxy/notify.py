"""What systemd is told (``sd_notify``): ready, reloading, stopping, and that the event loop still turns."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

VARIABLES: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)
"""What systemd says to this process alone, and a child must not believe."""

_MICROSECONDS: Final = 1_000_000


class Notifier:
    """Tells systemd, where systemd asked to be told; else does nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._watched = _watchdog(environ) if path else None

    def ready(self, status: str) -> None:
        """Say that the work has begun, or goes on after a reload."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1", "STATUS=draining")

    async def keep_alive(self) -> None:
        """Say again and again that the event loop turns; runs until it is cancelled, or ends if nobody asked."""
        while self._watched is not None:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watched / 2)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # Whoever started us may be gone, or not read: that is nothing to fail for.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # noqa: FBT003  # its only form
            sock.sendto("\n".join(lines).encode(), self._address)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Return the seconds within which systemd wants to hear of us."""
    interval = environ.get("WATCHDOG_USEC", "")
    if not interval.isdecimal() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(interval) / _MICROSECONDS or None
