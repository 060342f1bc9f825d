"""The sample applications in Python, each a process of its own: ``python -m sidecar.demo.fleet sync|async``.

They are written as a user would write them: a policy, a profile, and the socket of the sidecar on this machine.
"""

import asyncio
import contextlib
import sys
import threading
import time
from typing import Any, Final

import sidecar

_PACE: Final = 0.25
"""Seconds between two calls."""
_MOST: Final = 40
"""Calls under way at once; beyond, the application would be its own worst load."""
_QUESTION: Final[dict[str, Any]] = {
    "max_tokens": 300,
    "messages": [{"role": "user", "content": "What does a user feel first?"}],
}
POLICY: Final = """
[timeouts]
first_byte = 2
stall = 2
total = 8

[retry]
max_attempts = 2
base = 0.2

[breaker]
consecutive = 6
open_for = 4
max_open_for = 4
"""


def _threads() -> None:
    """Ask for whole answers from threads, as a batch job does."""
    client = sidecar.Anthropic(
        api_key="any", policy=sidecar.Policy.from_toml(f'profile = "background"\n{POLICY}'), profile="background"
    )
    free = threading.Semaphore(_MOST)

    def ask() -> None:
        with free, contextlib.suppress(Exception):  # calls that fail are what this is for
            client.messages.create(model="claude-sonnet-5", **_QUESTION)

    while True:
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(_PACE)


async def _tasks() -> None:
    """Stream answers to people who wait, as a chat does."""
    client = sidecar.AsyncAnthropic(
        api_key="any", policy=sidecar.Policy.from_toml(f'profile = "interactive"\n{POLICY}'), profile="interactive"
    )
    free = asyncio.Semaphore(_MOST)

    async def ask() -> None:
        async with free:
            with contextlib.suppress(Exception):
                async with client.messages.stream(model="claude-opus-5", **_QUESTION) as stream:
                    async for _ in stream.text_stream:
                        pass

    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(ask())
            await asyncio.sleep(_PACE)


def main() -> None:
    """Call until somebody ends the process."""
    sidecar.configure(socket=True)  # $SIDECAR_SOCKET
    if sys.argv[1] == "sync":
        _threads()
    else:
        asyncio.run(_tasks())


if __name__ == "__main__":
    main()
