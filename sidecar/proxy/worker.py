"""One of several workers: a process that proxies on the sockets it was handed, and reports to the one that started it.

It is started by `sidecar.proxy.workers`, never by hand: ``python -m sidecar.proxy.worker LINE PARENT``.
"""

import asyncio
import ctypes
import gc
import json
import os
import signal
import socket
import sys
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, Final

from sidecar.model import Profile, Source
from sidecar.proxy import logs
from sidecar.proxy.drain import drain
from sidecar.proxy.line import MAX_PACKET, READY, Line
from sidecar.proxy.loop import new_event_loop
from sidecar.proxy.notes import SharedCalls
from sidecar.proxy.server import Proxy
from sidecar.proxy.settings import Config, build
from sidecar.telemetry import Telemetry
from sidecar.telemetry.socket import SocketSender

_PR_SET_PDEATHSIG: Final = 1
_LAST_RECORDS_SECONDS: Final = 2.0
_TO_SPARE_SECONDS: Final = 5
"""After draining should have ended: then a worker that hangs is killed by its alarm, whoever else is gone."""


def main() -> None:
    """Work until told to stop, or until nobody is there to tell."""
    descriptor, parent = (int(word) for word in sys.argv[1:3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # reloading is ordered on the line
    _die_with(parent)
    line = socket.socket(fileno=descriptor)
    orders = json.loads(line.recv(MAX_PACKET) or b"null")
    if orders is not None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_Worker(line, orders).run())


class _Worker:
    def __init__(self, line: socket.socket, orders: dict[str, Any]) -> None:
        self._config: Config = build(orders["config"])
        self._orders = orders
        self._stopping = asyncio.Event()
        self._socket = line
        self._proxy: Proxy | None = None
        self._log: logs.RequestLog = logs.RequestLog(access=self._config.access_log)
        logs.set_up(self._config.log_format, self._config.log_level, worker=orders["number"])

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(logs.log_loop_errors)
        telemetry = Telemetry(source=Source.PROXY)
        sender = SocketSender(telemetry, Path(self._orders["records"]))
        telemetry.add_sink(sender)
        telemetry.add_sink(self._log)
        line = Line(loop, self._socket, heard=self._heard, ended=self._stopping.set)
        proxy = self._proxy = Proxy(self._config.proxy, telemetry, calls=SharedCalls(line.send, telemetry.call))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        for descriptor, profile in self._orders["sockets"]:
            await proxy.listen(socket.socket(fileno=descriptor), profile and Profile(profile))
        sender.start()
        line.send(READY)
        gc.freeze()  # as in the one process that proxies alone
        await self._stopping.wait()
        signal.alarm(ceil(self._config.drain_seconds) + _TO_SPARE_SECONDS)
        for number in (signal.SIGTERM, signal.SIGINT):  # a second signal ends it at once
            loop.remove_signal_handler(number)
        await drain(proxy, self._config.drain_seconds)
        await asyncio.to_thread(partial(sender.close, _LAST_RECORDS_SECONDS))
        line.close()

    def _heard(self, packet: bytes) -> None:
        """Work by the newest configuration; it was checked by who sent it."""
        self._config = build(json.loads(packet)["config"])
        logs.set_level(self._config.log_level)
        self._log.access = self._config.access_log
        if self._proxy is not None:
            self._proxy.apply(self._config.proxy)


def _die_with(parent: int) -> None:
    """Be told to end when the parent is gone, however it went, and whether or not the event loop gets to hear it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went before it could be told
        sys.exit(0)


if __name__ == "__main__":
    main()
