"""A relay that understands nothing of what it passes on: what uvloop itself costs, and no proxy on it can go below.

python -m benchmarks.proxy.relay PORT UPSTREAM_PORT
"""

import asyncio
import sys
from typing import Final, cast

import uvloop

_HOST: Final = "127.0.0.1"


class _Side(asyncio.Protocol):
    """One end; it writes to the other what it reads."""

    def __init__(self, upstream: int, other: "_Side | None" = None) -> None:
        self._upstream = upstream
        self._other = other
        self._early: list[bytes] = []  # what came before the other end was there
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self._other is None:
            self._dialling = asyncio.create_task(self._dial())

    async def _dial(self) -> None:
        other = _Side(self._upstream, self)
        transport, self._other = await asyncio.get_running_loop().create_connection(
            lambda: other, _HOST, self._upstream
        )
        transport.writelines(self._early)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.write(data)
        else:
            self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # an end is an end
        self.transport = None
        if self._other is not None and self._other.transport is not None:
            self._other.transport.abort()


async def _serve(port: int, upstream: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Side(upstream), _HOST, port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(*map(int, sys.argv[1:3])))
