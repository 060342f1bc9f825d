"""What one core of `sidecar chaos` sustains: server-side CPU time a request and an event.

The server runs in one child process, whose own CPU clock is read before and after; the load comes from another. The
reference is the least a Python server can do: uvloop, no parsing, one canned answer, measured in the same run.
"""

import asyncio
import json
import subprocess
import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from sidecar.chaos.scenario_file import load_scenario
from sidecar.chaos.server import ChaosServer

_LOAD: Final = Path(__file__).with_name("chaos_load.py")
_STREAM_SECONDS: Final = 6
_CANNED: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 997 + b'"}}'


class _Canned(asyncio.Protocol):
    """The reference: answers every read with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, _: bytes) -> None:
        self._transport.write(_CANNED)


def _serve(pipe: Connection, kind: str) -> None:
    """Serve until told to stop; answer each question with the CPU seconds used and the content events sent so far."""

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        chaos = ChaosServer(load_scenario("instant"), max_attempts=10_000)
        await chaos.start()
        canned = await loop.create_server(_Canned, "127.0.0.1", 0)
        port = chaos.address[1] if kind == "chaos" else canned.sockets[0].getsockname()[1]
        stop = asyncio.Event()

        def asked() -> None:
            if pipe.recv() == "stop":
                stop.set()
                return
            attempts = chaos.truth.attempts()
            streamed = [
                attempt.ended - attempt.headers_sent_at
                for attempt in attempts
                if attempt.stream and attempt.ended and attempt.headers_sent_at
            ]
            events = sum(attempt.events for attempt in attempts)
            pipe.send((time.process_time(), events, max(streamed, default=0.0)))

        loop.add_reader(pipe.fileno(), asked)
        pipe.send(port)
        await stop.wait()
        loop.remove_reader(pipe.fileno())
        canned.close()
        await chaos.close()

    uvloop.run(serve())


def _measure(kind: str, **load: Any) -> dict[str, float]:
    context = get_context("spawn")
    pipe, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(theirs, kind), daemon=True)
    child.start()
    try:
        load["port"] = pipe.recv()
        pipe.send("read")
        before, *_ = pipe.recv()
        command = [sys.executable, str(_LOAD), json.dumps(load)]
        output: str = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603  # our own
        pipe.send("read")
        after, events, slowest = pipe.recv()
    finally:
        pipe.send("stop")
        child.join()
    found: dict[str, float] = json.loads(output)
    return found | {"cpu": after - before, "sent": events, "slowest": slowest}


def main() -> None:
    """Measure and report."""
    reference = _measure("canned", clients=32, seconds=3, stream=False, chaos="ok")
    plain = _measure("chaos", clients=32, seconds=5, stream=False, chaos="ok;latency=0")
    # 1,000 streams of 50 events a second: 4 tokens an event.
    chaos = f"ok;tokens={_STREAM_SECONDS * 200};tps=200;latency=0.5"
    streams = _measure("chaos", clients=1000, seconds=0, stream=True, chaos=chaos)
    base = reference["cpu"] / reference["answers"]
    request = plain["cpu"] / plain["answers"]
    event = streams["cpu"] / streams["sent"]
    print(f"{'measured':<32}{'CPU each':>12}{'one core sustains':>20}{'target':>10}{'x reference':>14}")
    for name, cost, target in (
        ("reference: one canned answer", base, ""),
        ("JSON request", request, "2,000"),
        ("event of 1,000 streams", event, "50,000"),
    ):
        print(f"{name:<32}{cost * 1e6:>9.1f} us{1 / cost:>18,.0f}/s{target:>10}{cost / base:>14.1f}")
    print(
        f"  streams: {streams['answers']:,.0f} of 1,000 complete; the slowest took {streams['slowest']:.2f} s for its "
        f"{_STREAM_SECONDS:.0f} s; the server used {streams['cpu'] / streams['seconds']:.0%} of a core"
    )


if __name__ == "__main__":
    main()
