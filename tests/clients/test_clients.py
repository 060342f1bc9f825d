"""Other people's clients see through the proxy what they see without it, and what is recorded is what happened."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
from langchain_anthropic import ChatAnthropic

from sidecar.chaos import Attempt, chaos_server
from sidecar.model import Outcome, RetryResult, Source
from sidecar.proxy import hangup
from sidecar.proxy.origin import parse_origin
from sidecar.telemetry import Telemetry
from tests.proxy.kit import running
from tests.proxy.memory import Records
from tests.proxy.test_truth import PLAIN, STREAMED, Case, check

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0
# What a client of a proxy cannot see: that the upstream closed without a word. It is told so, by a 502.
NO_ANSWER: Final = "reset;when=before-headers"
CUT: Final = "truncate"
BODY: Final = {"model": "claude-sonnet-5", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
# Once an answer has begun, Node cuts it when it has been silent for five minutes, whatever the SDK's timeout.
FIVE_MINUTES: Final = {"stall"}


@pytest.fixture(autouse=True)
def _however_late_a_busy_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a client's timeout for one even where it fires late, or its request was on its way for long."""
    monkeypatch.setattr(hangup, "_LATE", 60.0)
    monkeypatch.setattr(hangup, "_EARLY", 1.5)


@dataclass
class Route:
    """A fake API, reached straight or through a proxy that looks on."""

    url: str
    records: Records | None
    truth: Callable[[], Awaitable[tuple[Attempt, ...]]]


@asynccontextmanager
async def routes(*, proxied: bool) -> AsyncIterator[Route]:
    async with chaos_server() as chaos:
        if not proxied:
            yield Route(chaos.url, None, chaos.settled)
            return
        telemetry, records = Telemetry(source=Source.PROXY), Records()
        telemetry.add_sink(records)
        async with running(parse_origin(chaos.url), telemetry=telemetry) as proxy:

            async def settled() -> tuple[Attempt, ...]:
                await proxy.settled()
                return await chaos.settled()

            yield Route(f"http://127.0.0.1:{proxy.port}", records, settled)


async def told_by(*command: str, given: str = "", **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate(given.encode())
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.fixture(scope="module")
def node() -> tuple[str, str]:
    """Give the program and the driver, beside the SDK that it imports."""
    made = subprocess.run([ROOT / "scripts" / "clients"], check=True, capture_output=True, text=True)
    folder = Path(made.stdout.strip())
    driver = folder / "driver.mjs"
    driver.write_text((Path(__file__).parent / "driver.mjs").read_text())
    return str(Path(sys.executable).with_name("node")), str(driver)


@pytest.mark.parametrize(("cases", "stream"), [(PLAIN, False), (STREAMED, True)], ids=["plain", "streamed"])
async def test_the_typescript_sdk(cases: tuple[Case, ...], stream: bool, node: tuple[str, str]) -> None:
    played = [case for case in cases if case.fault not in FIVE_MINUTES]
    if not stream:  # where the answer has begun, this SDK does not ask again
        played = [
            replace(case, attempts=case.attempts[:1], result=None) if case.fault == CUT else case for case in played
        ]
    async with _many(played, proxied=False) as straight, _many(played, proxied=True) as by:
        asked = [
            {
                "url": route.url,
                "fault": case.fault,
                "stream": stream,
                "timeout": case.timeout,
                "retries": case.retries,
            }
            for way in (straight, by)
            for case, route in zip(played, way, strict=True)
        ]
        seen = json.loads(await told_by(*node, given=json.dumps(asked)))
        truths = [await route.truth() for route in by]
    # A call that failed is closed when no retry comes any more: when the proxy ends, at the latest.
    wrong = {}
    for case, route, truth, without, through in zip(
        played, by, truths, seen[: len(played)], seen[len(played) :], strict=True
    ):
        assert route.records is not None
        try:
            if case.fault == NO_ANSWER:
                assert (without["error"], through["status"]) == ("APIConnectionError", 502)
            else:
                assert through == without
            check(case, route.records, truth, stream=stream)
        except (AssertionError, ValueError) as error:
            wrong[case.fault] = str(error)
    assert not wrong, wrong


@asynccontextmanager
async def _many(cases: list[Case], *, proxied: bool) -> AsyncIterator[list[Route]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(routes(proxied=proxied)) for _ in cases]


@pytest.fixture(scope="module")
def curl() -> str:
    """Find a curl that runs, or unpack the distribution's with what it needs."""
    found = shutil.which("curl")
    if found is not None and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
        return found
    made = subprocess.run(
        [ROOT / "scripts" / "debian-program", "curl", "curl", "usr/bin/curl"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, f"curl is not on PATH, and could not be unpacked; install it. {made.stderr}"
    return f"{made.stdout.strip()}/curl"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_curl_gets_the_same_bytes(stream: bool, curl: str) -> None:
    told = []
    for proxied in (False, True):
        async with routes(proxied=proxied) as route:
            body = json.dumps({**BODY, "stream": stream})
            headers = ["-H", "x-api-key: any", "-H", "anthropic-version: 2023-06-01"]
            told.append(await told_by(curl, "-sSN", f"{route.url}/v1/messages", *headers, "-d", body))
            if route.records is not None:
                await route.truth()
                (call,) = route.records.calls
                assert (call.outcome, call.stream, call.source) == (Outcome.OK, stream, Source.INFERRED)
    assert told[0] == told[1]
    assert "message" in told[0]


async def test_langchain() -> None:
    answers = []
    for proxied in (False, True):
        async with routes(proxied=proxied) as route:
            settings: dict[str, Any] = {
                "model": "claude-sonnet-5",
                "base_url": route.url,
                "api_key": "any",
                "max_tokens": 20,
                "max_retries": 2,
                "default_headers": {"x-chaos": "529;retry-after-ms=1 x1"},
            }
            model = ChatAnthropic(**settings)
            answer = await model.ainvoke("Hello")
            answers.append((answer.content, answer.usage_metadata))
            if route.records is not None:
                truth = await route.truth()
                (call,) = route.records.calls
                assert (call.attempts, call.retry_result, call.source) == (2, RetryResult.RECOVERED, Source.PROXY)
                assert [attempt.status for attempt in truth] == [529, 200]
    assert answers[0] == answers[1]
