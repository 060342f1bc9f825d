"""The upstream of these benchmarks, in a process of its own: canned answers, and streams with evenly spread chunks.

    python -m benchmarks.proxy.upstream [CERTIFICATE KEY]

It prints its port, then for each line of its input how many chunks it has sent, until its input ends.
"""

import asyncio
import re
import ssl
import sys
import time
from typing import Final, cast

import uvloop

from benchmarks.proxy.traffic import STAMP, STAMP_KEY, answer, stream_chunk, stream_end, stream_head

CHUNKS_A_SECOND: Final = 50
_SLOTS: Final = 20
"""Streams take turns: a twentieth of them is sent a chunk every millisecond."""

_ANSWER: Final = answer()
_HEAD: Final = stream_head()
_CHUNK: Final = stream_chunk()
_END: Final = stream_end()
_BEFORE, _AFTER = (
    _CHUNK[: _CHUNK.index(STAMP_KEY) + len(STAMP_KEY)],
    _CHUNK[_CHUNK.index(STAMP_KEY) + len(STAMP_KEY) + STAMP :],
)
_WANTED: Final = re.compile(rb"\r\nx-bench-chunks: ([0-9]+)\r\n")
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: ([0-9]+)\r\n")


class _Streams:
    """The streams under way, by slot."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: list[dict[asyncio.Transport, int]] = [{} for _ in range(_SLOTS)]
        self._next = 0
        self._due = 0.0
        self.sent = 0

    def start(self, transport: asyncio.Transport, chunks: int) -> None:
        """Send this many chunks from now on."""
        if not any(self._slots):
            self._due = self._loop.time()
            self._loop.call_soon(self._turn)
        min(self._slots, key=len)[transport] = chunks

    def _turn(self) -> None:
        slot = self._slots[self._next]
        self._next = (self._next + 1) % _SLOTS
        for transport, left in list(slot.items()):
            if transport.is_closing():
                del slot[transport]
            elif left:
                transport.write(b"%b%020d%b" % (_BEFORE, time.monotonic_ns(), _AFTER))
                slot[transport] = left - 1
                self.sent += 1
            else:
                transport.write(_END)
                del slot[transport]
        if any(self._slots):
            self._due += 1 / CHUNKS_A_SECOND / _SLOTS
            self._loop.call_at(self._due, self._turn)


class _Server(asyncio.Protocol):
    def __init__(self, streams: _Streams) -> None:
        self._streams = streams
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        end = held.find(b"\r\n\r\n")
        length = _LENGTH.search(held, 0, end + 2)
        self._held = held if end < 0 or length is None or len(held) < end + 4 + int(length[1]) else b""
        if self._held:
            return
        wanted = _WANTED.search(held, 0, end + 2)
        if wanted is None:
            self._transport.write(_ANSWER)
            return
        self._transport.write(_HEAD)
        if chunks := int(wanted[1]):
            self._streams.start(self._transport, chunks)


async def _serve(tls: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    streams = _Streams()
    server = await loop.create_server(lambda: _Server(streams), "127.0.0.1", 0, ssl=tls, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(streams.sent, flush=True)


if __name__ == "__main__":
    context = None
    if sys.argv[1:]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*sys.argv[1:])
    uvloop.run(_serve(context))
