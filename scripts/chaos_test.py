"""Kills at random, with `kill -9`, everything around a real `sidecar proxy` and its own parts; then looks for damage.

``make chaos-test`` runs two minutes (SECONDS=...). Client processes call through a proxy with two workers in front of
the fake API. Workers, the whole proxy, the API and clients are killed; what nobody else starts again is started again,
as systemd would. No call may hang or end twice, the counts must be those of what happened but for what was not reported
when it was killed, and at the end everything must have been given back.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts import chaos_ledger as ledger
from scripts.chaos_caller import PATIENCE
from scripts.proxy_kit import Page, chaos, get, is_gone, open_files, process_id, proxy, scenario
from scripts.proxy_kit import connections as connections_of
from sidecar.demo import Process, ProcessError

MIX: Final = {
    "ok": 74,
    "529;retry-after-ms=50": 8,
    "500": 6,
    "truncate": 4,
    "reset;when=before-headers": 2,
    "reset;when=after-headers": 2,
    "error-event": 2,
    "slow-headers;s=1": 2,
}
WORKERS: Final = 2
RATE: Final = 8.0
"""Calls a second, of each caller."""
DRAIN: Final = 5
_GLANCE: Final = 0.02
_REBIRTHS: Final = 100
"""How often a proxy is started again whose address the killed one's workers have not left yet."""
_SAYS: Final = 5.0
"""Seconds between lines of progress."""


class Scene:
    """The processes, what was done to them, and what was found."""

    def __init__(self, home: Path, seed: int, callers: int) -> None:
        self.faults: list[str] = []
        self.kills: list[ledger.Kill] = []
        self.killed = dict.fromkeys(("worker", "proxy", "upstream", "caller"), 0)
        self.judged = 0
        """Attempts that were counted for sure, whose counting was looked at."""
        self._home = home
        self._chance = random.Random(seed)
        self._started = 0
        self._seen: set[int] = set()
        self._story = scenario(home, "Faults that end by themselves.", MIX)
        self._api, self._api_url = chaos(home, "chaos", self._story)
        self._proxy, self.url, self._admin = self._begin_proxy("127.0.0.1:0", "127.0.0.1:0")
        self._fresh = self._files()
        self._callers: dict[Path, Process] = {}
        self._dead: list[Path] = []
        for _ in range(callers):
            self._begin_caller()

    def close(self) -> None:
        """End everything; nothing may be left of the proxy."""
        self._workers()  # those of the end are seen
        for process in (*self._callers.values(), self._proxy, self._api):
            process.stop()
        self._until(lambda: all(map(is_gone, self._seen)), "a process of the proxy was left behind")
        left = list(self._home.glob("tmp/claude-sidecar-*"))
        if len(left) > self.killed["proxy"]:
            self.faults.append(f"{len(left)} directories were left behind by {self.killed['proxy']} killed proxies")

    def kill(self, what: str) -> None:
        """Kill one of these; start it again if nobody else does."""
        self.killed[what] += 1
        {"worker": self._worker, "proxy": self._whole_proxy, "upstream": self._upstream, "caller": self._caller}[what]()

    def attempts(self) -> list[ledger.Attempt]:
        """Read what all callers wrote down."""
        found: list[ledger.Attempt] = []
        for path in (*self._dead, *self._callers):
            found += ledger.read(path.read_text(), killed=path in self._dead)
        return found

    def hush(self) -> None:
        """Have the callers end their calls, and wait until they have."""
        for path in self._callers:
            os.kill(int(path.read_text().split(maxsplit=3)[2]), signal.SIGTERM)
        self._until(lambda: all(each.ended for each in self._callers.values()), "a caller did not end", 2 * PATIENCE)

    def judge(self) -> None:
        """Wait until all is as it should be, and tell of what does not get there."""
        attempts = self.attempts()
        self.faults += ledger.misbehaved(attempts, self.kills)
        wrong = list(self._unsettled(attempts))
        give_up = time.monotonic() + PATIENCE
        while wrong and time.monotonic() < give_up:
            time.sleep(0.2)
            wrong = list(self._unsettled(attempts))
        self.faults += wrong
        self.judged += ledger.expected(attempts, self.kills, now=time.monotonic()).attempts.sure

    def _unsettled(self, attempts: list[ledger.Attempt]) -> Iterator[str]:
        page = self._page()
        yield from ledger.expected(attempts, self.kills, now=time.monotonic()).wrong(page.total)
        for family in ("claude_in_flight", "sidecar_internal_errors_total", "sidecar_dropped_records_total"):
            if count := page.total(family):
                yield f"{family} is {count:.0f}"
        if left := json.loads(get(f"{self._api_url}/chaos/truth?limit=1"))["counts"]["under_way"]:
            yield f"the API still answers {left} requests that nobody waits for"
        if left := connections_of(self.url):
            yield f"{left} connections of clients are still open"
        if len(self._workers()) != WORKERS:
            yield f"{len(self._workers())} workers run, not {WORKERS}"
        files = self._files()
        if any(now > then for now, then in zip(files, self._fresh, strict=False)):
            yield f"open files of the supervisor and its workers: {self._fresh} at the start, {files} now"

    def _begin_proxy(self, listen: str, admin: str) -> tuple[Process, str, str]:
        options = ("--workers", str(WORKERS), "--drain-seconds", str(DRAIN))
        begun = proxy(self._home, self._next("proxy"), self._api_url, *options, listen=listen, admin=admin)
        self._supervisor = process_id(self._home)
        return begun

    def _begin_caller(self) -> None:
        name = self._next("caller")
        log = self._home / f"{name}.calls"
        program = Path(__file__).with_name("chaos_caller.py")
        options = ("--seed", str(self._chance.randrange(2**32)), "--rate", str(RATE))
        process = Process((sys.executable, program, self.url, log, *options), self._home / f"{name}.log")
        self._callers[log] = process
        process.wait_until(lambda: log.exists() and log.read_text().count("\n") > 0, PATIENCE)

    def _worker(self) -> None:
        workers = self._workers()
        if not workers:  # both were killed a moment ago
            return
        victim = self._chance.choice(workers)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        self._until(lambda: is_gone(victim), "a killed worker stayed")
        self.kills.append(ledger.Kill(began=began, ended=time.monotonic()))

    def _whole_proxy(self) -> None:
        self._check_before_it_goes()
        workers = self._workers()
        listen, admin = self.url.removeprefix("http://"), self._admin
        began = time.monotonic()
        os.kill(self._supervisor, signal.SIGKILL)
        self._until(lambda: self._proxy.ended, "a killed supervisor stayed")
        for tries in range(_REBIRTHS):
            try:
                self._proxy, _, _ = self._begin_proxy(listen, admin)
                break
            except ProcessError:
                if tries + 1 == _REBIRTHS:
                    raise
        self._until(lambda: all(map(is_gone, workers)), "a worker without its supervisor stayed")
        self.kills.append(ledger.Kill(began=began, ended=time.monotonic(), whole=True))

    def _check_before_it_goes(self) -> None:
        """Compare what the supervisor counted: it cannot be asked any more once it is killed."""
        page = self._page()
        now = time.monotonic()
        attempts = [each for each in self.attempts() if each.began <= now]
        # What ended a moment ago, or goes on, may be counted or not: as if all were killed now.
        kills = [*self.kills, ledger.Kill(began=now, ended=now)]
        bounds = ledger.expected(attempts, kills, now=now)
        self.judged += bounds.attempts.sure
        self.faults += bounds.wrong(page.total)

    def _upstream(self) -> None:
        self._api.kill()
        self._api, _ = chaos(self._home, self._next("chaos"), self._story, self._api_url.removeprefix("http://"))

    def _caller(self) -> None:
        victim = self._chance.choice(list(self._callers))
        self._callers.pop(victim).kill()
        self._dead.append(victim)
        self._begin_caller()

    def _workers(self) -> list[int]:
        children = Path(f"/proc/{self._supervisor}/task/{self._supervisor}/children").read_text().split()
        alive = [int(pid) for pid in children if not is_gone(int(pid))]
        self._seen |= {self._supervisor, *alive}
        return alive

    def _files(self) -> list[int]:
        """Count the open files of the supervisor and of its workers, without what is kept towards the API."""
        return [open_files(pid) - connections_of(self._api_url, pid) for pid in (self._supervisor, *self._workers())]

    def _page(self) -> Page:
        return Page(get(f"http://{self._admin}/metrics"))

    def _next(self, name: str) -> str:
        self._started += 1
        return f"{name}-{self._started}"

    def _until(self, condition: Callable[[], bool], otherwise: str, patience: float = PATIENCE) -> None:
        give_up = time.monotonic() + patience
        while not condition():
            if time.monotonic() > give_up:
                self.faults.append(otherwise)
                return
            time.sleep(_GLANCE)


def rounds(scene: Scene, seconds: float, pause: float, chance: random.Random) -> None:
    """Kill at random moments: each kind once, in any order, and again until the time is up."""
    end = time.monotonic() + seconds
    said = time.monotonic()
    while True:
        for what in chance.sample(list(scene.killed), len(scene.killed)):
            time.sleep(chance.uniform(0, 2 * pause))
            scene.kill(what)
            if time.monotonic() > said + _SAYS:
                said = time.monotonic()
                attempts = scene.attempts()
                print(f"{end - said:6.0f} s to go, {len(attempts)} attempts, killed: {scene.killed}", flush=True)
        if time.monotonic() > end:
            return


def run(home: Path, given: argparse.Namespace) -> list[str]:
    """Run it; return what was wrong."""
    scene = Scene(home, given.seed, given.callers)
    try:
        rounds(scene, given.seconds, given.pause, random.Random(given.seed))
        time.sleep(given.calm)
        scene.hush()
        scene.judge()
        attempts = scene.attempts()
    finally:
        scene.close()
    tell(scene, attempts)
    return scene.faults


def tell(scene: Scene, attempts: list[ledger.Attempt]) -> None:
    """Print what was done, and how much of it could be judged."""
    print(f"\nkilled: {scene.killed}")
    print(f"{len({each.call for each in attempts})} calls, {len(attempts)} attempts: {ledger.endings(attempts)}")
    print(f"{scene.judged} attempts had to be counted; the others were so near to a kill that they may be or not")
    if not scene.judged:
        scene.faults.append("nothing could be judged: no attempt was far enough from a kill")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to kill (default: 120)")
    parser.add_argument("--pause", type=float, default=1.5, help="between kills, on average (default: 1.5)")
    parser.add_argument("--calm", type=float, default=5.0, help="seconds of calls afterwards (default: 5)")
    parser.add_argument("--callers", type=int, default=3, help="client processes (default: 3)")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed and when (default: 1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sidecar-kill-") as home:
        (Path(home) / "tmp").mkdir()
        os.environ["TMPDIR"] = str(Path(home) / "tmp")
        faults = run(Path(home), given)
    for fault in faults:
        print(f"chaos-test: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
