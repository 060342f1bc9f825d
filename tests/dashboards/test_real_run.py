"""Every query against a real Prometheus that scraped a real run: the fake API's faults, through client and proxy.

The simulated hour of `test_live` holds everything that can happen; this holds what really comes out of the ways in,
so that a label or a family that no way in tells is found.
"""

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from anthropic import AsyncAnthropic as Bare
from click.testing import CliRunner

from sidecar import AsyncAnthropic, Policy, Retry, serve_metrics
from sidecar.chaos import chaos_server
from sidecar.cli import main
from sidecar.demo import Process, Server, prometheus, scraping
from sidecar.model import Profile
from sidecar.policy import BreakerConfig, Timeouts
from sidecar.telemetry import Telemetry
from tests.dashboards.boards import BOARDS, Query, annotations, filled, queries, variables
from tests.dashboards.test_live import NEEDS_WEEKS, NEVER_IN_IT
from tests.support.prometheus import until

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic as Client

MODELS: Final = ("claude-opus-5", "claude-sonnet-5")
LABELS: Final = {"cluster": "eu-1", "namespace": "chat"}
PACE: Final = 0.1
TIMEOUT: Final = 1.0
RUN: Final = 12.0
"""Seconds of traffic: enough for two evaluations of rules that read what rules recorded."""
STEP: Final = 1.0
PROTECTED: Final = Policy(
    profile=Profile.INTERACTIVE,
    timeouts=Timeouts(connect=TIMEOUT, pool=TIMEOUT, write=TIMEOUT, first_byte=TIMEOUT, stall=TIMEOUT, total=3.0),
    retry=Retry(max_attempts=2, base=0.01),
    breaker=BreakerConfig(min_calls=4, failure_ratio=0.2, open_for=1.0, max_open_for=1.0),
)
"""A policy whose breaker opens at these faults, and soon looks whether they are over."""
# What each call in turn meets. Every second word is no fault, so that percentiles have something to be of.
FAULTS: Final = (
    "529,ok",
    "stall;after=3",
    "500;retry-after=0,500;retry-after=0,500",
    "truncate-clean;after=2",
    "429;retry-after=0,ok",
    "hang,ok",
    "401",
    "reset;when=after-headers;after=2",
    "error-event;after=1",
    "ok;stop=max_tokens",
)
CHOSEN: Final = {
    **LABELS,
    "job": "app",
    "source": "client",
    "endpoint": "messages",
    "model": MODELS[0],
    "profile": "interactive",
    "slo": "claude-availability",
}
# What hangs on the second at which the run begins and ends.
BY_CHANCE: Final = {
    "claude-breakers-limits / Rate limits now / E": "limits run out, unless a minute begins that fills them",
    "claude-slo / Objectives / G": "a budget runs out, unless it has already",
}
# What a good run does not hold.
NOT_IN_IT: Final = {
    **{name: why for name, why in NEVER_IN_IT.items() if name not in BY_CHANCE},
    "claude-sidecar-health / Records dropped and own faults / A": "records that get lost",
    "claude-sidecar-health / Records dropped and own faults / B": "faults of our own",
    "claude-sidecar-health / Records dropped and own faults / C": "more models than a label may have",
}


@dataclass(frozen=True, slots=True)
class Past:
    """A Prometheus, and the part of its time in which something happened."""

    server: Server
    start: float
    end: float

    def ask(self, query: Query, chosen: Mapping[str, str]) -> list[dict[str, Any]]:
        """Ask as Grafana would."""
        expr = filled(BOARDS[query.board], query.expr, chosen, step=STEP, span=self.end - self.start)
        if query.instant:
            answer = self.server.ask("/api/v1/query", query=expr, time=self.end)
        else:
            answer = self.server.ask("/api/v1/query_range", query=expr, start=self.start, end=self.end, step=STEP)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    home = tmp_path_factory.mktemp("run")
    (home / "values.yaml").write_text(yaml.safe_dump({"intervals": {"fast": "1s", "slow": "1s", "samples": "1s"}}))
    exported = CliRunner().invoke(main, ["export", "alerts", str(home), "--values", str(home / "values.yaml")])
    assert exported.exit_code == 0, exported.output
    telemetry = Telemetry()
    with (
        chaos_server() as chaos,
        proxying(chaos.url, home) as (proxy, admin),
        serve_metrics(0, telemetry=telemetry) as own,
    ):
        config = scraping({"app": [f"127.0.0.1:{own.port}", admin]}, rules=sorted((home / "rules").iterdir()))
        for job in config["scrape_configs"]:
            job["static_configs"][0]["labels"] = LABELS
        with prometheus(home, config) as server:
            until(lambda: len(server.ask("/api/v1/query", query="up == 1")["data"]["result"]) == 2, "the first scrapes")
            start = time.time()
            asyncio.run(everybody(chaos.url, proxy, telemetry))
            until(lambda: recorded(server), "what is recorded from recorded series")
            yield Past(server, start, time.time())


def recorded(server: Server) -> bool:
    """Say whether rules that read what rules recorded have seen failures."""
    last = (
        "slo:period_error_budget_remaining:ratio"
        " and on () claude:timeouts:ratio_3d and on () claude:breaker_rejections:rate_5m > 0"
    )
    return bool(server.ask("/api/v1/query", query=last)["data"]["result"])


@contextmanager
def proxying(upstream: str, home: Path) -> Iterator[tuple[str, str]]:
    """Run `sidecar proxy`, and find out where it listens and where its metrics are."""
    command: list[str | Path] = [Path(sys.executable).with_name("sidecar"), "proxy", "--upstream", upstream]
    with Process([*command, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], home / "proxy.log") as process:
        announced = re.compile(r"ANTHROPIC_BASE_URL=(http://\S+)[\s\S]*http://(127\.0\.0\.1:\d+)/metrics")
        process.wait_until(lambda: announced.search(process.log.read_text()) is not None, 60)
        found = announced.search(process.log.read_text())
        assert found
        yield found[1], found[2]


async def everybody(api: str, proxy: str, telemetry: Telemetry) -> None:
    """Call for a while, straight and through the proxy, and let what is under way end."""
    async with (
        AsyncAnthropic(base_url=api, api_key="any", timeout=TIMEOUT, telemetry=telemetry) as own,
        AsyncAnthropic(base_url=api, api_key="any", policy=PROTECTED, telemetry=telemetry) as protected,
        Bare(base_url=proxy, api_key="any", timeout=TIMEOUT) as through,
        asyncio.TaskGroup() as calls,
    ):
        for turn in range(int(RUN / PACE)):
            fault = FAULTS[turn // 2 % len(FAULTS)] if turn % 2 else "ok"
            for client in (own, protected, through):
                calls.create_task(ask(client, fault, MODELS[turn // 4 % 2], stream=turn % 4 != 0))
            await asyncio.sleep(PACE)


async def ask(client: "Client", fault: str, model: str, *, stream: bool) -> None:
    headers = {"x-chaos": fault, "x-sidecar-profile": "interactive"}
    question: Any = {"role": "user", "content": "What does a user feel?"}
    with contextlib.suppress(Exception):  # calls that fail are what this is for
        answer: Any = await client.messages.create(
            model=model, max_tokens=1000, messages=[question], stream=stream, extra_headers=headers
        )
        if stream:
            async for _ in answer:
                pass


def expected(query: Query) -> bool:
    return str(query) not in {*NOT_IN_IT, *BY_CHANCE} and NEEDS_WEEKS not in query.expr


@pytest.mark.parametrize("query", [*queries(), *annotations()], ids=str)
@pytest.mark.parametrize("chosen", [{}, CHOSEN], ids=["all", "one"])
def test_a_query_returns_numbers(query: Query, chosen: dict[str, str], past: Past) -> None:
    """No error, no NaN-only series, and no panel that stays empty."""
    there = variables(BOARDS[query.board])
    result = past.ask(query, {name: value for name, value in chosen.items() if name in there})
    assert bool(result) or not expected(query)
    for series in result:
        values = series.get("values") or [series["value"]]
        assert {value for _, value in values} != {"NaN"}, series["metric"]


def test_what_is_excused_has_no_data_indeed(past: Past) -> None:
    """An excuse that is no longer needed goes."""
    known = {str(query): query for query in queries()}
    assert {*NOT_IN_IT, *BY_CHANCE} <= set(known)
    assert [name for name in NOT_IN_IT if past.ask(known[name], {})] == []


def test_both_ways_in_and_the_breaker_were_seen(past: Past) -> None:
    """What the panels show is of the client and of the proxy, and the policy did something."""
    instant = {
        "count by (source) (claude_calls_total)": {"client", "proxy"},
        'sum by (to) (claude_breaker_transitions_total{source="client"}) > 0': {"open", "half_open"},
        'count by (profile) (claude_timeout_setting_seconds{source="client"})': {"interactive"},
    }
    for expr, least in instant.items():
        answer = past.server.ask("/api/v1/query", query=expr, time=past.end)
        found = {value for series in answer["data"]["result"] for value in series["metric"].values()}
        assert least <= found, expr
