"""How late an event loop runs: what every other number of the same process suffers from."""

import asyncio
from collections import deque
from typing import Final

from sidecar.telemetry import Telemetry

_EVERY: Final = 0.5
_WINDOW: Final = 30
"""Measurements that a scrape sees the worst of: 15 s, the usual time between two scrapes."""


async def watch_event_loop(telemetry: Telemetry, every: float = _EVERY) -> None:
    """Tell the telemetry, again and again, the worst delay of the last seconds; runs until it is cancelled."""
    loop = asyncio.get_running_loop()
    seen: deque[float] = deque(maxlen=_WINDOW)
    while True:
        due = loop.time() + every
        await asyncio.sleep(every)
        seen.append(max(loop.time() - due, 0.0))
        telemetry.event_loop_lag(max(seen))
