"""Several workers: started, started again when one dies, told what to do, and their records and notes received."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from sidecar.model import Profile
from sidecar.proxy.correlate import Calls
from sidecar.proxy.folder import Folder
from sidecar.proxy.line import READY, Line, WorkerError, pair
from sidecar.proxy.listening import Listening
from sidecar.proxy.notes import Joiner
from sidecar.proxy.notify import VARIABLES
from sidecar.proxy.settings import Config
from sidecar.proxy.wheel import Wheel
from sidecar.telemetry import Telemetry
from sidecar.telemetry.socket import Receiver, SocketError

Place = tuple[Listening, Profile | None]

_log: Final = logging.getLogger("sidecar.proxy")
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_PROVEN_SECONDS: Final = 10.0
"""A worker that has lived this long did not die of how it was started."""
_TO_SPARE_SECONDS: Final = 3.0
"""After draining should have ended, before what still runs is killed."""


class _Worker:
    """One worker's process, from its start to its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.process: asyncio.subprocess.Process | None = None
        self.line: Line | None = None
        self.ready: asyncio.Future[bool] = loop.create_future()

    @property
    def serves(self) -> bool:
        """Whether it takes clients."""
        return self.ready.done() and self.ready.result() and self.line is not None

    def said_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(True)

    def ended(self) -> None:
        if not self.ready.done():
            self.ready.set_result(False)
        if self.line is not None:
            self.line.listen()  # what it said last
            self.line.close()
            self.line = None


class Crew:
    """The workers of one proxy."""

    def __init__(self, config: Config, places: Sequence[Place], telemetry: Telemetry, wheel: Wheel) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._places = tuple(places)
        self._joiner = Joiner(wheel, Calls(wheel, telemetry.call), telemetry.dropped, catch_up=self._listen)
        self._folder = Folder()
        try:
            self._receiver = Receiver(telemetry, self._folder.path / "records.sock")
            self._receiver.open()
        except SocketError as error:
            self._folder.close()
            raise WorkerError(f"the workers have nowhere to report to: {error}") from None
        self._workers: dict[int, _Worker] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Start all workers, and wait until they take clients. Raises WorkerError where one cannot."""
        self._loop.add_reader(self._receiver.fileno(), self._receiver.drain)
        first = [self._loop.create_future() for _ in range(self._config.workers)]
        self._keepers = [asyncio.create_task(self._keep(number, future)) for number, future in enumerate(first)]
        if not all(await asyncio.gather(*first)):
            raise WorkerError("a worker ended before it took clients: what it said before tells why")

    def apply(self, config: Config) -> None:
        """Have all workers work by this configuration from now on."""
        self._config = config
        for number, worker in self._workers.items():
            if worker.line is not None and not worker.line.order({"config": dict(config.values)}):
                _log.error("a worker does not listen, and stays as it is", extra={"fields": {"worker": number}})

    def problem(self) -> str | None:
        """Say why nobody takes clients."""
        return None if any(worker.serves for worker in self._workers.values()) else "no worker is running"

    async def drain(self, seconds: float) -> None:
        """Have all workers end what is under way; kill those that do not."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait(self._keepers, timeout=seconds + _TO_SPARE_SECONDS)
        if late:
            _log.error("workers that did not end were killed", extra={"fields": {"workers": len(late)}})
        await self.close()

    async def close(self) -> None:
        """End all workers at once, and take what they reported."""
        self._stopping.set()
        self._signal(signal.SIGKILL)
        await asyncio.gather(*self._keepers)
        if self._receiver.fileno() >= 0:
            self._loop.remove_reader(self._receiver.fileno())
        self._receiver.close()
        self._joiner.close()
        self._folder.close()

    def _listen(self) -> None:
        for worker in self._workers.values():
            if worker.line is not None:
                worker.line.listen()

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            if worker.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    worker.process.send_signal(number)

    async def _keep(self, number: int, first: "asyncio.Future[bool]") -> None:
        """Keep one worker running."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = self._loop.time()
            ended = await self._live(number, first)
            if self._stopping.is_set():
                return
            if self._loop.time() - began >= _PROVEN_SECONDS:
                pause = _FIRST_PAUSE
            _log.error(
                "a worker ended; the next is started",
                extra={"fields": {"worker": number, "status": ended, "in_seconds": pause}},
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _live(self, number: int, first: "asyncio.Future[bool]") -> int:
        """Start a worker and wait for its end; returns its exit status."""
        worker = self._workers[number] = _Worker()
        worker.ready.add_done_callback(lambda ready: None if first.done() else first.set_result(ready.result()))
        ours, theirs = pair()
        with theirs:
            sockets = [(_share(place, number), profile and profile.value) for place, profile in self._places]
            worker.process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "sidecar.proxy.worker", str(theirs.fileno()), str(os.getpid())),
                pass_fds=(theirs.fileno(), *(descriptor for descriptor, _ in sockets)),
                env={name: value for name, value in os.environ.items() if name not in VARIABLES},
                stdin=asyncio.subprocess.DEVNULL,
            )
        worker.line = Line(
            self._loop,
            ours,
            heard=lambda packet: worker.said_ready() if packet == READY else self._joiner.take(packet),
            ended=lambda: None,
        )
        worker.line.order(
            {
                "config": dict(self._config.values),
                "number": number,
                "records": str(self._receiver.path),
                "sockets": sockets,
            }
        )
        if self._stopping.is_set():  # it was told to end before it was there
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        status = await process.wait()
        worker.ended()
        self._joiner.forget(process.pid)
        return status


def _share(place: Listening, number: int) -> int:
    """Return the descriptor of a worker's own socket, or of the one that all have."""
    return place.sockets[number if len(place.sockets) > 1 else 0].fileno()
