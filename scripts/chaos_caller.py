"""A client process of `make chaos-test`: calls at a steady pace, tries again as the SDKs do, and writes all of it down.

Each line is written when it happens, so that what was under way is known even of a caller that was killed.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import time
from typing import Final

import httpx2

ATTEMPTS: Final = 4
PATIENCE: Final = 30.0
"""Seconds an attempt may take. Every fault here ends sooner by itself: an attempt that takes as long hangs."""
STREAMED: Final = 0.6
TRIED_AGAIN: Final = 500
_TIMEOUT: Final = httpx2.Timeout(PATIENCE)


class Caller:
    """Makes calls, each with all its attempts."""

    def __init__(self, client: httpx2.AsyncClient, seed: int, log: int) -> None:
        self._client = client
        self._chance = random.Random(seed)
        self._log = log

    async def call(self, number: int) -> None:
        """Make one call; its body is like no other's."""
        name = f"{os.getpid()}-{number}"
        stream = self._chance.random() < STREAMED
        body = json.dumps(
            {
                "model": "claude-sonnet-5",
                "max_tokens": 200,
                "stream": stream,
                "messages": [{"role": "user", "content": name + "x" * self._chance.choice((10, 2_000, 100_000))}],
            }
        )
        for attempt in range(ATTEMPTS):
            self._write("began", name, attempt)
            said, ending = await self._attempt(body, attempt, stream=stream)
            again = (said == "none" or int(said) >= TRIED_AGAIN) and attempt + 1 < ATTEMPTS
            self._write("ended", name, attempt, said, ending, "again" if again else "last")
            if not again:
                return
            await asyncio.sleep(0.1 * 2**attempt * self._chance.uniform(0.75, 1))

    async def _attempt(self, body: str, number: int, *, stream: bool) -> tuple[str, str]:
        """Return the status, and how the answer ended."""
        headers = {
            "content-type": "application/json",
            "x-api-key": "any",
            "anthropic-version": "2023-06-01",
            "x-stainless-retry-count": str(number),
        }
        status = "none"
        try:
            async with (
                asyncio.timeout(PATIENCE),
                self._client.stream("POST", "/v1/messages", content=body, headers=headers) as answer,
            ):
                status = str(answer.status_code)
                told = answer.headers.get("x-sidecar-error")
                content = await answer.aread()
        except TimeoutError:
            return status, "hung"
        except httpx2.TimeoutException:
            return status, "hung"
        except httpx2.ConnectError:
            return status, "refused"
        except httpx2.TransportError:
            return status, "broken"
        if told is not None:
            return status, told
        whole = not stream or status != "200" or b"message_stop" in content
        return status, "whole" if whole else "short"

    def started(self) -> None:
        """Write that calls may be expected."""
        self._write("started", os.getpid())

    def _write(self, *words: object) -> None:
        os.write(self._log, (" ".join(map(str, (time.monotonic(), *words))) + "\n").encode())


async def run(url: str, log: int, seed: int, rate: float) -> None:
    """Call until SIGTERM, and then until all calls have ended."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    limits = httpx2.Limits(max_connections=None)
    number = 0
    async with httpx2.AsyncClient(base_url=url, timeout=_TIMEOUT, limits=limits, trust_env=False) as client:
        caller = Caller(client, seed, log)
        caller.started()
        async with asyncio.TaskGroup() as group:
            while not stopping.is_set():
                group.create_task(caller.call(number))
                number += 1
                await asyncio.sleep(1 / rate)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("log")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    given = parser.parse_args()
    log = os.open(given.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    asyncio.run(run(given.url, log, given.seed, given.rate))


if __name__ == "__main__":
    main()
