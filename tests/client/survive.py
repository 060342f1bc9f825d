"""What the tests of calls under a policy share: the same call through a sync and an async client."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anthropic

import sidecar
from sidecar.client.begin import MARK
from sidecar.client.policies import Policies, Shared, Time
from sidecar.policy import BreakerConfig, Policy, Retry, Timeouts

QUICK = Retry(base=0.0, cap=0.0)
"""Tries again at once."""


def policy(**parts: Any) -> Policy:
    """Make a policy that waits for nothing it is not told to wait for, and has no limits it is not given."""
    limits = parts.pop("timeouts", {})
    patient = Timeouts(connect=30.0, pool=30.0, write=30.0, first_byte=30.0, stall=30.0)
    return Policy(
        **{"retry": QUICK, "retry_budget": None, "breaker": None, "timeouts": replace(patient, **limits), **parts}
    )


def touchy(**more: Any) -> BreakerConfig:
    """Make a breaker that opens at the first failure, and stays open."""
    return BreakerConfig(
        **{"consecutive": 1, "failure_ratio": None, "open_for": 1000.0, "max_open_for": 1000.0, **more}
    )


class Sync:
    """Makes calls of the sync client."""

    name = "sync"

    def client(self, seen: Any, url: str, **more: Any) -> Any:
        return sidecar.Anthropic(base_url=url, api_key="k", telemetry=seen, **more)

    def create(self, client: Any, ask: Any) -> Any:
        with client:
            return client.messages.create(**ask)

    def read(self, client: Any, ask: Any) -> list[Any]:
        with client:
            return list(client.messages.create(**ask, stream=True))

    def first_then(self, client: Any, ask: Any, leave: Callable[[Any], Any]) -> None:
        """Read the first event, then leave the stream."""
        with client:
            stream = client.messages.create(**ask, stream=True)
            next(iter(stream))
            leave(stream)
            del stream


class Async:
    """Makes calls of the async client."""

    name = "async"

    def client(self, seen: Any, url: str, **more: Any) -> Any:
        return sidecar.AsyncAnthropic(base_url=url, api_key="k", telemetry=seen, **more)

    def create(self, client: Any, ask: Any) -> Any:
        async def run() -> Any:
            async with client:
                return await client.messages.create(**ask)

        return asyncio.run(run())

    def read(self, client: Any, ask: Any) -> list[Any]:
        async def run() -> list[Any]:
            async with client:
                return [event async for event in await client.messages.create(**ask, stream=True)]

        return asyncio.run(run())

    def first_then(self, client: Any, ask: Any, leave: Callable[[Any], Any]) -> None:
        async def run() -> None:
            async with client:
                stream = await client.messages.create(**ask, stream=True)
                await anext(aiter(stream))
                left = leave(stream)
                if left is not None:
                    await left
                del stream

        asyncio.run(run())


class Aiohttp(Async):
    """Makes calls of the async client over the SDK's other backend."""

    name = "aiohttp"

    def client(self, seen: Any, url: str, **more: Any) -> Any:
        return super().client(seen, url, http_client=anthropic.DefaultAioHttpClient(), **more)


Kind = Sync | Async
KINDS: list[Kind] = [Sync(), Async()]


class Waits:
    """Stands in for waiting: keeps what was asked for, and may do something instead."""

    def __init__(self, instead: Callable[[], None] = lambda: None) -> None:
        self.seconds: list[float] = []
        self._instead = instead

    def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._instead()

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


def with_time(client: Any, **time: Any) -> Any:
    """Give a client, and nobody else, a time of its own."""
    observer = client.__dict__[MARK]
    policies = observer.policies
    assert isinstance(policies, Policies)
    shared = Shared(observer.telemetry, Time(**time))
    client.__dict__[MARK] = replace(observer, policies=replace(policies, shared=shared))
    return client


def waiting(client: Any, waits: Waits, **time: Any) -> Any:
    """Have a client's waits only noted."""
    return with_time(client, sleep=waits.sleep, asleep=waits.asleep, **time)
