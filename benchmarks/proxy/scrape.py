"""How long a scrape holds up the loop it is rendered in: CPU time between two turns, so that a busy machine adds none.

python -m benchmarks.proxy.scrape SERIES
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from itertools import count
from statistics import median

import uvloop

from sidecar.admin import Address, AdminServer, Readiness, standard_routes
from sidecar.model import AttemptRecord, CallRecord, Outcome, Phase, Profile, Source, Usage
from sidecar.telemetry import Telemetry

_PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
_SCRAPES = 5


def _fill(telemetry: Telemetry, series: int) -> int:
    chance = random.Random(1)
    there = 0
    for turn, (number, profile, outcome) in enumerate(
        (number, profile, outcome)
        for number in count()  # which product() would try to hold whole
        for profile in Profile
        for outcome in (Outcome.OK, Outcome.OVERLOADED, Outcome.TIMEOUT)
    ):
        if turn % 50 == 0:
            there = sum(len([*view.values, *view.histograms]) for view in telemetry.collect())
            if there >= series:
                break
        seconds = chance.lognormvariate(1, 1)
        common = {
            "source": Source.PROXY,
            "endpoint": ("messages", "messages.count_tokens", "other")[number % 3],
            "model": f"model-{number // 3 % 48}",
            "profile": profile,
            "stream": True,
            "started_at": 1.79e9,
            "duration": seconds,
            "outcome": outcome,
            "phase": Phase.STALL if outcome is Outcome.TIMEOUT else None,
        }
        telemetry.attempt(AttemptRecord(**common, number=0, max_gap=seconds / 5))  # type: ignore[arg-type]
        usage = Usage(input=int(seconds * 1000), output=400)
        telemetry.call(CallRecord(**common, first_token=seconds / 4, output_seconds=seconds / 2, usage=usage))  # type: ignore[arg-type]
    return there


async def _run(series: int) -> dict[str, float]:
    telemetry = Telemetry()
    found: dict[str, float] = {"series": _fill(telemetry, series)}
    admin = AdminServer(Address("127.0.0.1", 0), standard_routes(telemetry, Readiness()))
    await admin.start()
    loop = asyncio.get_running_loop()
    longest = 0.0
    last = time.thread_time()

    def turn() -> None:
        nonlocal last, longest
        now = time.thread_time()
        longest = max(longest, now - last)
        last = now
        loop.call_soon(turn)

    async def while_waiting(command: Sequence[str]) -> float:
        nonlocal longest
        process = await asyncio.create_subprocess_exec(*command)
        await asyncio.sleep(0.002)
        longest = 0.0  # what starting a process took is no scrape's fault
        await process.wait()
        return longest

    loop.call_soon(turn)
    accept = ("-H", f"Accept: {_PROTOBUF}", "-H", "Accept-Encoding: gzip")
    scrape = ("curl", "-s", "-o", "/dev/null", *accept, f"http://{admin.address}/metrics")
    nothing = ("sleep", "0.1")
    held = [(await while_waiting(scrape), await while_waiting(nothing)) for _ in range(_SCRAPES)]
    found["longest"], found["without"] = map(median, zip(*held, strict=True))
    await admin.stop()
    return found


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_run(int(sys.argv[1])))))
