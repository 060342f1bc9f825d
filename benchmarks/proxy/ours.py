"""Runs the proxy alone, without the command around it: ``python -m benchmarks.proxy.ours PORT UPSTREAM [observed]``."""

import asyncio
import socket
import sys

import uvloop

from sidecar.proxy.limits import Limits
from sidecar.proxy.origin import parse_origin
from sidecar.proxy.server import Proxy, Settings
from sidecar.telemetry import Telemetry


async def _run(port: int, upstream: str, ca: str | None, *, observed: bool) -> None:
    limits = Limits(upstream_connections=8192, in_flight=8192, idle_connections=256)
    proxy = Proxy(Settings(upstream=parse_origin(upstream), limits=limits, ca_file=ca), Telemetry() if observed else None)
    await proxy.listen(socket.create_server(("127.0.0.1", port), backlog=4096))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), sys.argv[2], (sys.argv[4:] or [None])[0], observed=sys.argv[3:4] == ["observed"]))
