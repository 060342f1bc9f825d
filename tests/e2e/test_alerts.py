"""From a call that fails to the message that tells of it: every part real, only the rules' windows shorter.

Three applications and a sidecar are watched by one Prometheus and one Alertmanager, whose webhook is listened to until
everything that must be told has been. What is told of whom is then for each test to judge.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import yaml
from click.testing import CliRunner

from sidecar.alerts import load_values
from sidecar.cli import main
from sidecar.demo import Notice, Process, Server, Webhook, alertmanager, delivering, prometheus, scraping, webhook
from sidecar.rules import seconds
from tests.e2e.applications import MODEL, Application, installed
from tests.support.prometheus import until

PATIENCE: Final = 240.0
"""Seconds for what takes 45 on an idle machine."""
SHORT: Final = "2s"
APPLICATIONS: Final = {
    # Without retries, a call that times out does so once.
    "spiking": Application(scenario="timeout-spike", seconds=(8, 14, 1), calls_per_second=10),
    "calm": Application(scenario="calm"),
    "limited": Application(scenario="rate-limited", seconds=(5, 600, 1), max_retries=2),
}
DUE: Final = {
    ("spiking", "ClaudeTimeoutSpike", True),
    ("spiking", "ClaudeTimeoutSpike", False),
    ("limited", "ClaudeRateLimited", True),
    ("sidecar", "ClaudeSidecarDown", True),
}
"""Job, alert, and whether it fires or is resolved: what must be told before the run is over."""


def values() -> str:
    """Shorten windows and waits, and nothing else, the way a user would."""
    windows = {name: {"window": "12s"} for name in ("ClaudeTimeoutSpike", "ClaudeRateLimited")}
    return yaml.safe_dump(
        {
            "intervals": {"fast": "1s", "slow": "2s", "samples": "2s"},
            "links": {"runbooks": "https://wiki.example/runbooks"},
            "alerts": {
                name: {
                    **windows.get(name, {}),
                    **{wait: SHORT for wait in ("for", "keep") if seconds(alert[wait]) > seconds(SHORT)},
                }
                for name, alert in load_values().alerts.items()
            },
        }
    )


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that was told, and how many calls each application had made by then."""

    notices: tuple[Notice, ...]
    calls: dict[str, float]

    def of(self, job: str) -> list[Notice]:
        return [notice for notice in self.notices if notice.labels["job"] == job]

    def fired(self, job: str) -> set[str]:
        return {notice.name for notice in self.of(job) if notice.firing}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("alerts")
    (home / "values.yaml").write_text(values())
    exported = CliRunner().invoke(main, ["export", "alerts", str(home), "--values", str(home / "values.yaml")])
    assert exported.exit_code == 0, exported.output
    example = (home / "alertmanager" / "alertmanager.example.yaml").read_text()
    with (
        webhook() as receiver,
        _sidecar(home) as (sidecar, address),
        installed(APPLICATIONS) as applications,
        alertmanager(home, delivering(example, receiver.url)) as alerts,
        prometheus(
            home,
            scraping(
                {**{job: [target] for job, target in applications.addresses.items()}, "sidecar": [address]},
                rules=sorted((home / "rules").iterdir()),
                alertmanager=alerts.address,
            ),
        ) as server,
    ):
        until(lambda: _value(server, "count(sidecar_build_info)") == 1 + len(APPLICATIONS), "every target to be seen")
        applications.begin()
        sidecar.kill()
        _listen(receiver)
        calls = {job: _value(server, f'sum(claude_calls_total{{job="{job}"}})') for job in APPLICATIONS}
        return Run(receiver.received, calls)


@contextmanager
def _sidecar(home: Path) -> Iterator[tuple[Process, str]]:
    """Run the collector as its own process, and find out where its metrics are."""
    command = [str(Path(sys.executable).with_name("sidecar")), "collect", "--admin", "127.0.0.1:0"]
    with Process([*command, "--socket", str(home / "collect.sock")], home / "collect.log") as process:
        announced = re.compile(r"metrics at http://(127\.0\.0\.1:\d+)/metrics")
        process.wait_until(lambda: announced.search(process.log.read_text()) is not None, PATIENCE)
        found = announced.search(process.log.read_text())
        assert found
        yield process, found[1]


def _listen(receiver: Webhook) -> None:
    """Wait for all that is due, and tell what never came."""
    due = set(DUE)
    for notice in receiver.follow(PATIENCE):
        due.discard((notice.labels["job"], notice.name, notice.firing))
        if not due:
            return
    raise AssertionError(f"waited {PATIENCE:g} s in vain for {sorted(due)}; told was {receiver.received}")


def _value(server: Server, query: str) -> float:
    result = server.ask("/api/v1/query", query=query)["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


def test_a_timeout_spike_is_told_to_whoever_is_on_call_and_resolves(run: Run) -> None:
    fired, resolved = (
        next(notice for notice in run.of("spiking") if notice.name == "ClaudeTimeoutSpike" and notice.firing is firing)
        for firing in (True, False)
    )
    assert (fired.receiver, fired.labels["severity"], fired.labels["model"]) == ("on-call", "page", MODEL)
    assert re.fullmatch(rf"\d+\.?\d*% of the calls of spiking to {MODEL} time out", fired.annotations["summary"])
    assert fired.started == resolved.started
    assert fired.arrived < resolved.arrived


def test_the_spikes_message_tells_whose_side_it_is_on(run: Run) -> None:
    spike = next(notice for notice in run.of("spiking") if notice.name == "ClaudeTimeoutSpike")
    description = spike.annotations["description"]
    assert re.search(r"\d+ of \d+ calls timed out in 12s", description)
    assert re.search(r"\d+\.?\d*% of the timeouts were in the phase (first_byte|gateway)", description)
    assert "Affected: 1 of the 1 models this job calls." in description
    assert "No 429 or 529 came along" in description
    assert spike.annotations["runbook_url"] == "https://wiki.example/runbooks/ClaudeTimeoutSpike.md"


def test_a_calm_service_is_never_heard_of(run: Run) -> None:
    assert run.calls["calm"] > 50
    assert run.of("calm") == []


def test_a_rate_limit_is_told_as_one_and_not_as_timeouts(run: Run) -> None:
    assert "ClaudeRateLimited" in run.fired("limited")
    assert [name for name in run.fired("limited") if "Timeout" in name or "Hanging" in name] == []
    limited = next(notice for notice in run.of("limited") if notice.name == "ClaudeRateLimited")
    assert limited.receiver == "tickets"
    assert "The limit is your organisation's" in limited.annotations["description"]


def test_a_killed_sidecar_is_told_by_its_own_name(run: Run) -> None:
    assert run.fired("sidecar") == {"ClaudeSidecarDown"}
    down = next(notice for notice in run.of("sidecar"))
    assert down.annotations["summary"].startswith("claude-sidecar at 127.0.0.1:")
