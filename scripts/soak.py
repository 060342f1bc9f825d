"""Lets clients call through a real `sidecar proxy` while everything goes wrong, and looks for leaks.

``make soak`` runs half an hour (MINUTES=...). The proxy is sampled from outside: memory, open files, what is in
flight. At the end its counts must equal what the fake API says happened, and everything must be given back.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from anthropic import AsyncAnthropic

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.proxy_kit import Page, chaos, get, open_files, process_id, proxy, scenario  # after the path
from sidecar.demo.pages import samples

MIX: Final = {
    "ok": 62,
    "529": 6,
    "500": 4,
    "429": 4,
    "hang": 3,
    "stall": 4,
    "truncate": 4,
    "truncate-clean": 3,
    "reset;when=after-headers": 3,
    "error-event": 3,
    "drip": 2,
    "malformed-json": 2,
}
TIMEOUT: Final = 1.5
LEFT: Final = ("cancelled", "timeout")
"""The outcomes of requests whose client hung up."""
STREAMED: Final = 0.6
LEAVES: Final = 0.1
"""The share of calls whose application gives up at a random moment."""
GROWTH: Final = 1.15
"""How much the last third's memory may exceed the first third's, allocator's noise included."""
KEPT: Final = 256
"""Connections a proxy keeps at rest."""


@dataclass(frozen=True, slots=True)
class Look:
    """The proxy at a moment."""

    rss: float
    """In MB."""
    files: int
    page: Page


def look(pid: int, admin: str) -> Look:
    """Look at the proxy from outside."""
    status = Path(f"/proc/{pid}/status").read_text()
    rss = re.search(r"VmRSS:\s+(\d+)", status)
    assert rss is not None  # noqa: S101  # Linux says so
    return Look(int(rss[1]) / 1024, open_files(pid), Page(get(f"http://{admin}/metrics")))


async def ask(client: AsyncAnthropic, chance: random.Random) -> None:
    """Make one call, plain or streamed, and sometimes give up on it."""
    question: Any = {"role": "user", "content": "x" * chance.choice((10, 2_000, 200_000))}
    patience = chance.uniform(0, 1) if chance.random() < LEAVES else None
    with contextlib.suppress(Exception):
        async with asyncio.timeout(patience):
            answer: Any = await client.messages.create(
                model="claude-sonnet-5", max_tokens=200, messages=[question], stream=chance.random() < STREAMED
            )
            if hasattr(answer, "__aiter__"):
                async for _ in answer:
                    pass


async def calls(url: str, seconds: float, rate: float) -> int:
    """Call at a steady pace; return how many calls were made."""
    chance, made = random.Random(1), 0
    end = time.monotonic() + seconds
    async with AsyncAnthropic(base_url=url, api_key="any", timeout=TIMEOUT) as client, asyncio.TaskGroup() as group:
        while time.monotonic() < end:
            group.create_task(ask(client, chance))
            made += 1
            await asyncio.sleep(1 / rate)
    return made


async def soak(minutes: float, rate: float, home: Path) -> list[str]:
    """Run it; return what was wrong."""
    api, api_url = chaos(home, "chaos", scenario(home, "Everything that can go wrong, all the time.", MIX))
    with api:
        process, url, admin = proxy(home, "proxy", api_url)
        with process:
            pid = process_id(home)
            looks = [look(pid, admin)]
            task = asyncio.create_task(calls(url, minutes * 60, rate))
            step = max(minutes * 60 / 30, 1)
            while not task.done():
                await asyncio.wait({task}, timeout=step)
                looks.append(await asyncio.to_thread(look, pid, admin))
                now = looks[-1]
                requests = now.page.total("claude_attempts_total")
                print(f"{requests:8.0f} requests, {now.rss:5.1f} MB, {now.files} files", flush=True)
            made = await task
            truth, last = await settled(api_url, admin, pid)
            return judge(looks, last, truth, made)


async def settled(api: str, admin: str, pid: int) -> tuple[Mapping[str, Any], Look]:
    """Wait until nothing is under way any more, or as long as that can take."""
    give_up = time.monotonic() + 20
    while True:
        truth: dict[str, Any] = json.loads(await asyncio.to_thread(get, f"{api}/chaos/truth"))
        last = await asyncio.to_thread(look, pid, admin)
        quiet = not (truth["counts"]["under_way"] or last.page.total("claude_in_flight"))
        if quiet or time.monotonic() > give_up:
            return truth, last
        await asyncio.sleep(0.2)


def judge(looks: list[Look], last: Look, truth: Mapping[str, Any], made: int) -> list[str]:
    """Say what is wrong: counts that differ from what happened, and anything that was not given back."""
    print(f"{made} calls, {truth['counts']['total']} requests; by end: {truth['counts']['by_end']}")
    lost = ("sidecar_internal_errors_total", "sidecar_dropped_records_total", "claude_in_flight")
    return [
        *_miscounted(last, truth["attempts"]),
        *(f"{family} is {last.page.total(family):.0f}" for family in lost if last.page.total(family)),
        *_grown(looks, last),
    ]


def _miscounted(last: Look, attempts: list[Mapping[str, Any]]) -> Iterator[str]:
    """Compare by status. Where a client left, both sides know that, but not how far the answer had come."""
    real = Counter(str(each["status"] or "none") for each in attempts if each["end"] != "client_left")
    seen: Counter[str] = Counter()
    for each in samples(last.page.text):
        if each.name == "claude_attempts_total" and each.labels["outcome"] not in LEFT:
            seen[each.labels["status"]] += int(each.value)
    left = sum(last.page.total("claude_attempts_total", outcome=outcome) for outcome in LEFT)
    # Two things the proxy alone has seen: a client that left before its request had gone on, and one that left
    # after the whole answer had come, and before it was passed on.
    allowed = left - (len(attempts) - real.total())
    if seen - real or (real - seen).total() > allowed:
        yield f"counted: {dict(seen)} and {left:.0f} left; happened: {dict(real)} of {len(attempts)}"


def _grown(looks: list[Look], last: Look) -> Iterator[str]:
    third = max(len(looks) // 3, 1)
    before, after = (
        sorted(each.rss for each in part)[len(part) // 2] for part in (looks[third : 2 * third], looks[-third:])
    )
    print(f"memory {before:.1f} -> {after:.1f} MB, open files {looks[0].files} -> {last.files}")
    if after > before * GROWTH:
        yield f"memory grew from {before:.1f} to {after:.1f} MB"
    if last.files > looks[0].files + KEPT:
        yield f"{last.files} files are open, {looks[0].files} at the start"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: 30)")
    parser.add_argument("--rate", type=float, default=20.0, help="calls a second (default: 20)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sidecar-soak-") as home:
        faults = asyncio.run(soak(given.minutes, given.rate, Path(home)))
    for fault in faults:
        print(f"soak: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
