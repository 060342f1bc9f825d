"""`sidecar proxy` as a process: what is started in which order, what signals do, and that nothing is half-started."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable
from typing import Final

from sidecar.admin import AdminServer, Readiness, open_console, standard_routes, watch_event_loop
from sidecar.config import ConfigError
from sidecar.model import Profile, Source
from sidecar.proxy import logs
from sidecar.proxy.drain import drain
from sidecar.proxy.listening import Listening, passed_by_systemd
from sidecar.proxy.notify import Notifier
from sidecar.proxy.reach import Reach
from sidecar.proxy.server import Proxy
from sidecar.proxy.settings import Config
from sidecar.proxy.traces import open_traces
from sidecar.telemetry import Telemetry

_log: Final = logging.getLogger("sidecar.proxy")
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
_TAKING: Final = "taking clients"
"""What systemd shows of a process that does."""

Started = Callable[[Config, list[Listening], AdminServer], None]
Place = tuple[Listening, Profile | None]


async def serve(read: Callable[[], Config], *, started: Started) -> None:
    """Run until SIGTERM or SIGINT.

    Raises `ConfigError`, `ListenError`, `AdminError` or `WorkerError`, having started nothing. ``read`` reads the
    configuration, now and again on SIGHUP. ``started`` is told it, the places and the admin server once all are there.
    """
    config = read()
    logs.set_up(config.log_format, config.log_level)
    asyncio.get_running_loop().set_exception_handler(logs.log_loop_errors)
    with contextlib.ExitStack() as stack:
        places = _listen(config, stack)
        await _Process(config, read, places).run(started)


def _listen(config: Config, stack: contextlib.ExitStack) -> list[Place]:
    """Bind every place, or none."""
    places: list[Place] = [(place, None) for place in passed_by_systemd(os.environ)]
    if not places:
        for listener in config.listeners:
            place = Listening(listener.place, count=config.workers, mode=config.socket_mode)
            stack.callback(place.close)
            places.append((place, listener.profile))
    return places


class _Process:
    """The process that signals come to; it proxies itself, or has workers do it."""

    def __init__(self, config: Config, read: Callable[[], Config], places: list[Place]) -> None:
        self._config = config
        self._read = read
        self._places = places
        self._loop = asyncio.get_running_loop()
        self._notifier = Notifier(os.environ)
        self._telemetry = Telemetry(source=Source.PROXY)
        self._requests = logs.RequestLog(access=config.access_log)
        self._stopping = asyncio.Event()
        alone = config.workers == 1
        # With workers it serves nobody, but knows the upstreams: for saying whether they can be reached.
        self._traces = open_traces(self._telemetry, os.environ) if alone else None
        spans = None if self._traces is None else self._traces.calls
        self._proxy = Proxy(config.proxy, self._telemetry if alone else None, spans=spans)
        self._crew = None
        if alone:
            self._telemetry.add_sink(self._requests)
        else:
            from sidecar.proxy.workers import Crew  # noqa: PLC0415  # one process alone does not need it

            self._crew = Crew(config, places, self._telemetry, self._proxy.wheel)

    async def run(self, started: Started) -> None:
        reach = Reach(lambda: self._proxy.pools)
        readiness = Readiness()
        readiness.add("stopping", lambda: "the proxy is draining" if self._stopping.is_set() else None)
        readiness.add("upstreams", reach.problem)
        if self._crew is not None:
            readiness.add("workers", self._crew.problem)
        console = open_console(self._telemetry, self._config.admin, mode="proxy")
        admin = AdminServer(self._config.admin, standard_routes(self._telemetry, readiness, console=console))
        tasks: list[asyncio.Task[None]] = []
        try:
            await admin.start()
            for number in _STOPPING:
                self._loop.add_signal_handler(number, self._stopping.set)
            self._loop.add_signal_handler(signal.SIGHUP, self._reload)
            await self._take_clients()
            reach.problem()
            tasks += [asyncio.create_task(watch_event_loop(self._telemetry))]
            tasks += [asyncio.create_task(self._notifier.keep_alive())]
            started(self._config, [place for place, _ in self._places], admin)
            self._notifier.ready(_TAKING)
            # What is there now stays: a collection that went through it would hold every chunk up for milliseconds.
            gc.freeze()
            await self._stopping.wait()
            await self._drain()
        finally:
            if self._crew is not None:
                await self._crew.close()
            await self._proxy.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await admin.stop()
            if self._traces is not None:
                await asyncio.to_thread(self._traces.close)

    async def _take_clients(self) -> None:
        if self._crew is not None:
            await self._crew.start()
            return
        for place, profile in self._places:
            for sock in place.sockets:
                await self._proxy.listen(sock, profile)

    async def _drain(self) -> None:
        seconds = self._config.drain_seconds
        for number in _STOPPING:  # a second signal ends it at once
            self._loop.remove_signal_handler(number)
        self._notifier.stopping()
        _log.info("draining", extra={"fields": {"at_most_seconds": seconds}})
        if self._crew is None:
            await drain(self._proxy, seconds)
            return
        for place, _ in self._places:  # what the workers leave would go on taking clients that nobody serves
            place.close()
        await self._crew.drain(seconds)

    def _reload(self) -> None:
        """Work by the configuration as it is now, or go on by the old one and say why."""
        self._notifier.reloading()
        status = _TAKING
        try:
            new = self._read()
        except ConfigError as error:
            for fault in error.faults:
                _log.error("the new configuration cannot be used", extra={"fields": {"fault": fault}})
            _log.error("the old configuration stays in force", extra={"fields": {"faults": len(error.faults)}})
            status = f"{_TAKING}; the new configuration cannot be used, the log says why"
        else:
            self._apply(new)
        finally:
            self._notifier.ready(status)

    def _apply(self, new: Config) -> None:
        for name in self._config.kept_until_restart(new):
            _log.warning("a setting stays as it is until a restart", extra={"fields": {"setting": name}})
        self._config = self._config.changed_to(new)
        logs.set_level(new.log_level)
        self._requests.access = new.access_log
        self._proxy.apply(new.proxy)
        if self._crew is not None:
            self._crew.apply(self._config)
        _log.info("the new configuration is in force")
