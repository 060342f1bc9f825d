"""The load of these benchmarks, in a process of its own: raw sockets and canned requests.

    python -m benchmarks.proxy.load '{"do": "requests", "port": 8788, ...}'

It prints what it saw as one line of JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from statistics import median
from typing import Any, Final, cast

import uvloop

from benchmarks.proxy.traffic import STAMP, STAMP_KEY, request

_STREAM_ENDS: Final = b"0\r\n\r\n"
_SAMPLED: Final = 20
"""Of this many pieces the delay of one is looked at."""


class _Client(asyncio.Protocol):
    """Waits for one answer after another, each known by its length."""

    def __init__(self) -> None:
        self._left = -1
        self._held = b""
        self.answered: asyncio.Future[None] | None = None
        self.again = b""
        """What to send after each answer, for those that never pause."""
        self.left = 0
        """How many answers are wanted still."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            data = self._held + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._held = data
                return
            if not data.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the proxy answered {data[:1000]!r}")
            self._held = b""
            head = data[:end].lower()
            at = head.find(b"content-length:")
            if at < 0:
                raise SystemExit(f"an answer without content-length: {head!r}")
            self._left = int(head[at + 15 :].split(b"\r", 1)[0]) - (len(data) - end - 4)
        else:
            self._left -= len(data)
        if not self._left:
            self._left = -1
            self.left -= 1
            if self.left > 0:
                self.transport.write(self.again)
            elif self.answered is not None:
                self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(exc or ConnectionError("the proxy closed the connection"))

    async def ask(self, data: bytes, *, times: int = 1) -> None:
        """Ask, and wait for the answers."""
        self.answered = asyncio.get_running_loop().create_future()
        self.again, self.left = data, times
        self.transport.write(data)
        await self.answered


async def _clients(port: int, count: int) -> list[_Client]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Client, "127.0.0.1", port))[1] for _ in range(count)]


async def requests(*, port: int, clients: int, count: int, path: str = "/v1/messages") -> dict[str, Any]:
    """Ask ``count`` times in all, each client as fast as it is answered; twice, and the first time for nothing."""
    data = request(path=path)
    protocols = await _clients(port, clients)
    await asyncio.gather(*(protocol.ask(data, times=max(1, count // clients // 4)) for protocol in protocols))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    begun = time.perf_counter()
    await asyncio.gather(*(protocol.ask(data, times=count // clients) for protocol in protocols))
    return {"count": count // clients * clients, "seconds": time.perf_counter() - begun}


async def paced(*, ports: dict[str, int], rate: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Ask each of the ports in turn at an even pace, one request at a time; give the median of each."""
    data = request()
    found: dict[str, list[float]] = {name: [] for name in ports}
    clients = {name: (await _clients(port, 1))[0] for name, port in ports.items()}
    for client in clients.values():
        await client.ask(data, times=50)
    for _ in range(rounds):
        for name, client in clients.items():
            due = time.perf_counter()
            for _ in range(int(rate * seconds / rounds)):
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                begun = time.perf_counter()
                await client.ask(data)
                found[name].append(time.perf_counter() - begun)
    return {name: median(times) for name, times in found.items()}


class _Reader(asyncio.Protocol):
    """Reads one stream to its end."""

    def __init__(self, data: bytes, delays: list[int], sampled: int) -> None:
        self._data = data
        self._delays = delays
        self._count = sampled
        self._last = b""
        self.begun = False
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        self._count += 1
        if not self._count % _SAMPLED:
            at = data.rfind(STAMP_KEY)
            stamp = data[at + len(STAMP_KEY) : at + len(STAMP_KEY) + STAMP]
            if at >= 0 and stamp.isdigit():
                self._delays.append(time.monotonic_ns() - int(stamp))
        if not self.begun and not data.startswith(b"HTTP/1.1 200"):
            self.fail(f"the proxy answered {data[:1000]!r}")
            return
        self.begun = True
        if data.endswith(_STREAM_ENDS) or (
            len(data) < len(_STREAM_ENDS) and (self._last + data).endswith(_STREAM_ENDS)
        ):
            self.done.set_result(None)
            self.transport.abort()
        self._last = data

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(str(exc or "the proxy closed the connection"))

    def fail(self, why: str) -> None:
        """End here."""
        self.begun = True
        if not self.done.done():
            self.done.set_exception(ConnectionError(why))


def _itself(reader: _Reader) -> _Reader:
    return reader


async def streams(*, port: int, count: int, chunks: int) -> dict[str, Any]:
    """Read ``count`` streams at once; ``chunks`` 0 is for streams that stay silent, held until the input ends."""
    loop = asyncio.get_running_loop()
    delays: list[int] = []
    data = request(chunks=chunks)
    readers: list[_Reader] = []
    for number in range(count):
        reader = _Reader(data, delays, number)
        await loop.create_connection(partial(_itself, reader), "127.0.0.1", port)
        readers.append(reader)
    while not all(reader.begun for reader in readers):  # noqa: ASYNC110  # a thousand events would be no better
        await asyncio.sleep(0.01)
    for reader in readers:
        if reader.done.done():
            reader.done.result()  # it failed
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    if chunks:
        await asyncio.gather(*(reader.done for reader in readers))
    delays.sort()
    return {"p50": delays[len(delays) // 2] / 1e9, "p99": delays[len(delays) * 99 // 100] / 1e9} if delays else {}


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    works: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
        "requests": requests,
        "paced": paced,
        "streams": streams,
    }
    print(json.dumps(uvloop.run(works[wanted.pop("do")](**wanted))))
