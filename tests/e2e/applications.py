"""Applications of the Claude SDK, instrumented as users do it, that call a misbehaving API all the time."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, replace
from threading import Thread
from typing import TYPE_CHECKING, Final

from sidecar import AsyncAnthropic, serve_metrics
from sidecar.chaos import Scenario, chaos_server, load_scenario
from sidecar.chaos.scenario import AtEnd
from sidecar.telemetry import Telemetry

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic as Client

MODEL: Final = "claude-sonnet-5"
TIMEOUT: Final = 6.0
"""Seconds without a byte before an application gives up: its slowest good answers begin within 4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One service, and what happens to it."""

    scenario: str
    seconds: tuple[float, ...] = ()
    """How long each phase of the scenario lasts, if not as long as it says; the last one goes on in any case."""
    calls_per_second: float = 4.0
    max_retries: int = 0

    @property
    def played(self) -> Scenario:
        """The scenario as it is played: one that began anew at its end would never let an alert resolve."""
        told = load_scenario(self.scenario)
        phases = tuple(
            replace(phase, duration=seconds)
            for phase, seconds in zip(told.phases, self.seconds, strict=bool(self.seconds))
        )
        return replace(told, at_end=AtEnd.HOLD, phases=phases or told.phases)


class Applications:
    """What runs in a loop and a thread of its own: at first only the pages of their metrics."""

    def __init__(self, wanted: Mapping[str, Application], stack: ExitStack) -> None:
        self._wanted: Final = wanted
        self._telemetry: Final = {name: Telemetry() for name in wanted}
        self.addresses: Final = {
            name: f"127.0.0.1:{stack.enter_context(serve_metrics(0, telemetry=telemetry)).port}"
            for name, telemetry in self._telemetry.items()
        }
        """Name -> ``host:port`` of its metrics."""
        self._runner: Final = stack.enter_context(asyncio.Runner())
        self._stop: Final = asyncio.Event()
        self._thread: Final = Thread(target=self._runner.run, args=(self._run(),), name="applications")

    def begin(self) -> None:
        """Start the scenarios' clocks, and call."""
        self._thread.start()

    def end(self) -> None:
        """Stop calling, whatever is under way."""
        if self._thread.is_alive():
            self._runner.get_loop().call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            calling = [
                asyncio.create_task(_call(await self._client(name, stack), application))
                for name, application in self._wanted.items()
            ]
            await self._stop.wait()
            for task in calling:
                task.cancel()
            await asyncio.gather(*calling, return_exceptions=True)

    async def _client(self, name: str, stack: AsyncExitStack) -> "Client":
        application = self._wanted[name]
        chaos = await stack.enter_async_context(chaos_server(application.played))
        return await stack.enter_async_context(
            AsyncAnthropic(
                base_url=chaos.url,
                api_key="any",
                timeout=TIMEOUT,
                max_retries=application.max_retries,
                telemetry=self._telemetry[name],
            )
        )


@contextmanager
def installed(wanted: Mapping[str, Application]) -> Iterator[Applications]:
    """Prepare applications that call from `begin` until the block ends."""
    with ExitStack() as stack:
        applications = Applications(wanted, stack)
        try:
            yield applications
        finally:
            applications.end()


async def _call(client: "Client", application: Application) -> None:
    """Call at a steady pace, however long the answers take."""
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(_ask(client))
            await asyncio.sleep(1 / application.calls_per_second)


async def _ask(client: "Client") -> None:
    with contextlib.suppress(Exception):  # calls that fail are what this is for
        stream = await client.messages.create(
            model=MODEL, max_tokens=1000, stream=True, messages=[{"role": "user", "content": "What does a user feel?"}]
        )
        async for _ in stream:
            pass
