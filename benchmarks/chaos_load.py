"""A load generator for `bench_chaos`: raw sockets and canned requests, in a process of its own."""

import asyncio
import json
import sys
import time
from typing import Final, cast

import uvloop

_BODY: Final = {
    "model": "claude-sonnet-5",
    "max_tokens": 100_000,
    "messages": [{"role": "user", "content": "Hello " * 40}],
}
_HEADERS: Final = (
    "host: localhost\r\nx-api-key: any\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
    "accept: application/json\r\nuser-agent: bench\r\nx-stainless-retry-count: 0\r\nx-stainless-timeout: 600\r\n"
)


def request(chaos: str, *, stream: bool) -> bytes:
    """Write one request as an SDK would."""
    body = json.dumps(_BODY | {"stream": stream}).encode()
    head = f"POST /v1/messages HTTP/1.1\r\n{_HEADERS}x-chaos: {chaos}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Client(asyncio.Protocol):
    """Sends the same request again and again until told to stop, and counts what comes."""

    def __init__(self, data: bytes, end: bytes) -> None:
        self._data = data
        self._end = end
        self._tail = b""
        self.answers = 0
        self.again = True
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        seen = self._tail + data
        self._tail = data[-len(self._end) + 1 :]
        if not seen.endswith(self._end):
            return
        self.answers += 1
        self._tail = b""
        if self.again:
            self._transport.write(self._data)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(exc)


async def _run(port: int, *, clients: int, seconds: float, stream: bool, chaos: str) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    data = request(chaos, stream=stream)
    end = b"\r\n0\r\n\r\n" if stream else b'"}}'
    protocols = []
    for _ in range(clients):
        _, protocol = await loop.create_connection(lambda: _Client(data, end), "127.0.0.1", port)
        protocol.again = not stream
        protocols.append(protocol)
    start = time.perf_counter()
    if not stream:
        await asyncio.sleep(seconds)
        for protocol in protocols:
            protocol.again = False
    await asyncio.wait([protocol.done for protocol in protocols])
    took = time.perf_counter() - start
    return {
        "answers": sum(protocol.answers for protocol in protocols),
        "seconds": took,
    }


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    print(json.dumps(uvloop.run(_run(**wanted))))
