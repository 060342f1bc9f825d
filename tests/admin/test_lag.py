"""Proves that a blocked event loop shows in its gauge."""

import asyncio
import contextlib
import time

from sidecar.admin import watch_event_loop
from sidecar.telemetry import Telemetry


async def test_a_loop_that_was_blocked_is_told_as_late() -> None:
    telemetry, told = Telemetry(), asyncio.Event()
    tell = telemetry.event_loop_lag

    def spy(seconds: float) -> None:
        tell(seconds)
        told.set()

    telemetry.event_loop_lag = spy  # type: ignore[method-assign]
    watching = asyncio.create_task(watch_event_loop(telemetry, every=0.001))
    await asyncio.sleep(0)
    time.sleep(0.05)  # noqa: ASYNC251  # the very thing to be seen
    await told.wait()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert telemetry.value("sidecar_event_loop_lag_seconds") >= 0.04
