"""Policies by name, from the configuration, and off."""

import gc
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

import sidecar
from sidecar.chaos import Chaos
from sidecar.client import policies as part
from sidecar.client.observer import Defaults
from sidecar.client.policies import Policies, Shared, Time, chosen, configured, shared_by
from sidecar.config import ConfigError
from sidecar.console import Console
from sidecar.model import BreakerState, Phase, Profile
from sidecar.policy import BreakerConfig, BudgetConfig, CircuitBreaker, Policy, Timeouts
from sidecar.telemetry import Telemetry
from tests.client.survive import KINDS, Kind, policy

FILE = """
[retry]
max_attempts = 2
base = 0

[retry_budget]
min_per_second = 5

[breaker]
consecutive = 4

[profiles.realtime.timeouts]
first_byte = 0.2

[profiles.background.retry]
max_attempts = 1
"""
FAILING = {"extra_headers": {"x-chaos": "529"}}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    monkeypatch.undo()
    Defaults.policies = Defaults.table = Defaults.profile = None
    Defaults.traces = None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_name_stands_for_what_the_file_says(kind: Kind, seen: Any, chaos: Chaos, ask: Any) -> None:
    Path("sidecar.toml").write_text(FILE)
    for name, attempts in (("interactive", 2), ("background", 1)):
        with pytest.raises(anthropic.APIStatusError):
            kind.create(kind.client(seen, chaos.url, policy=name), {**ask, **FAILING})
        assert (seen.calls[-1].profile, seen.calls[-1].attempts) == (name, attempts)


def test_a_policy_of_ones_own_holds_for_all_calls_of_a_client(seen: Any, chaos: Chaos, ask: Any) -> None:
    own = Policy(profile=Profile.AGENTIC, retry=sidecar.Retry(max_attempts=1))
    with KINDS[0].client(seen, chaos.url, policy=own) as client:
        for more in ({}, {"x-sidecar-profile": "realtime"}):
            with pytest.raises(anthropic.APIStatusError):
                client.messages.create(**ask, extra_headers={"x-chaos": "529", **more})
    assert [(call.profile, call.attempts) for call in seen.calls] == [("agentic", 1), ("realtime", 1)]


def test_a_profile_given_beside_a_policy_is_the_label(seen: Any, chaos: Chaos, ask: Any) -> None:
    with KINDS[0].client(seen, chaos.url, policy=policy(), profile="background") as client:
        client.messages.create(**ask)
    assert seen.one.profile is Profile.BACKGROUND


@pytest.mark.parametrize("how", ["code", "environment", "file"])
def test_the_configuration_puts_all_observed_clients_under_policies(
    installed: Any, chaos: Chaos, ask: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("sidecar.toml").write_text(FILE + ("[client]\npolicies = true\n" if how == "file" else ""))
    if how == "environment":
        monkeypatch.setenv("SIDECAR_POLICIES", "1")
    sidecar.configure(policies=True if how == "code" else None)
    client: Any = anthropic.Anthropic(base_url=chaos.url, api_key="k")
    with client, pytest.raises(anthropic.APIStatusError):
        client.messages.create(**ask, **FAILING)
    assert installed.one.attempts == 2  # the SDK alone would have sent three
    sidecar.configure(policies=False)
    observed_only: Any = anthropic.Anthropic(base_url=chaos.url, api_key="k", max_retries=0)
    with observed_only, pytest.raises(anthropic.APIStatusError):
        observed_only.messages.create(**ask, **FAILING)
    assert installed.calls[-1].attempts == 1


def test_a_client_can_be_kept_out_of_it(seen: Any, chaos: Chaos, ask: Any) -> None:
    sidecar.configure(policies=True)
    with KINDS[0].client(seen, chaos.url, policy=False, max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError):
            client.messages.create(**ask, **FAILING)
        with pytest.raises(anthropic.APIStatusError):
            sidecar.instrument(client).messages.create(**ask, **FAILING)
        assert [call.attempts for call in seen.calls] == [1, 1]
        sidecar.instrument(client, policy=policy())
        with pytest.raises(anthropic.APIStatusError):
            sidecar.instrument(client, profile="realtime").messages.create(**ask, **FAILING)
    assert (seen.calls[-1].attempts, seen.calls[-1].profile) == (3, "realtime")


def test_what_configure_has_read_is_what_names_stand_for(tmp_path: Path) -> None:
    named = tmp_path / "other.toml"
    named.write_text(FILE)
    sidecar.configure(file=named)
    found = chosen("realtime", Telemetry())
    assert isinstance(found, part.Policies)
    assert not isinstance(found.choice, Policy)
    assert found.choice[Profile.REALTIME].timeouts.first_byte == 0.2
    assert found.choice[Profile.REALTIME].retry.max_attempts == 2
    assert Defaults.policies is None


def test_true_means_each_calls_own_profile() -> None:
    everybodys_own: bool = True
    found = chosen(everybodys_own, Telemetry())
    assert isinstance(found, part.Policies)
    assert found.choice == configured()
    assert part.profile_for(everybodys_own) is None


def test_without_a_file_names_stand_for_the_built_in_policies() -> None:
    assert configured()[Profile.INTERACTIVE] == Policy.for_profile("interactive")


def test_a_name_that_is_none_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"there is no policy 'fast'.*interactive, background, realtime, agentic"):
        sidecar.Anthropic(api_key="k", policy="fast")


def test_all_faults_of_a_configuration_are_told_at_once() -> None:
    Path("sidecar.toml").write_text("[client]\ntraces = 7\n[retry]\nmax_attempts = 0\n[breaker]\nwindow = 0.5\n")
    with pytest.raises(ConfigError) as caught:
        sidecar.configure(policies=True)
    assert caught.value.faults == (
        "sidecar.toml: retry.max_attempts must be a whole number at least 1 and at most 100, got 0",
        "sidecar.toml: breaker.window must be a whole number of seconds at least 1 and at most 3600, got 0.5",
        "sidecar.toml: [client] traces is 7; it must be true or false",
    )
    assert Defaults.table is None


def test_a_file_that_cannot_be_read_is_told_once() -> None:
    Path("sidecar.toml").write_text("[client")
    with pytest.raises(ConfigError) as caught:
        sidecar.configure()
    assert len(caught.value.faults) == 1


# What is shared


def test_who_reports_to_one_telemetry_shares_and_nobody_else() -> None:
    one, other = Telemetry(), Telemetry()
    assert shared_by(one) is shared_by(one)
    assert shared_by(one) is not shared_by(other)
    own = policy(breaker=BreakerConfig(), retry_budget=BudgetConfig())
    shared = shared_by(one)
    assert shared.planner(Profile.DEFAULT, own) is shared.planner(Profile.DEFAULT, own)
    other_profile = shared.planner(Profile.REALTIME, own)
    assert other_profile.breakers is shared.planner(Profile.DEFAULT, own).breakers
    assert other_profile.budget is not shared.planner(Profile.DEFAULT, own).budget


def test_what_is_shared_goes_with_its_telemetry() -> None:
    telemetry = Telemetry()
    gone = weakref.ref(shared_by(telemetry))
    del telemetry
    gc.collect()
    assert gone() is None


class Foreign:
    """A reporter that knows records only, and cannot be told from its likes."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.in_flight = Telemetry().in_flight
        self.calls: list[Any] = []

    def attempt(self, record: Any) -> None:
        """Not wanted here."""

    def call(self, record: Any) -> None:
        self.calls.append(record)

    def internal_error(self, where: str, error: BaseException) -> None:
        raise AssertionError(where) from error


def test_a_reporter_that_knows_no_more_than_records_will_do(chaos: Chaos, ask: Any) -> None:
    foreign = Foreign()
    own = Policy(retry=sidecar.Retry(base=0, cap=0))
    with KINDS[0].client(foreign, chaos.url, policy=own) as client:
        client.messages.create(**ask, extra_headers={"x-chaos": "529 x1"})
    assert foreign.calls[0].attempts == 2


def test_invented_policies_and_names_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "_MOST", 3)
    shared = Shared(Telemetry(), Time())
    for number in range(9):
        shared.planner(Profile.DEFAULT, Policy(retry_budget=BudgetConfig(ratio=number / 10)))
        shared.series(f"host/model-{number}")
    assert {len(table) for table in (shared._planners, shared._budgets, shared._series)} == {3}
    assert len(shared._registries) == 1


def test_a_breaker_says_why_it_opened_though_its_like_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "_MOST", 2)
    telemetry = Telemetry()
    shared = Shared(telemetry, Time(clock=lambda: 0.0))
    configs = [BreakerConfig(consecutive=2, open_for=number) for number in range(10, 14)]
    first, *_ = [shared.planner(Profile.DEFAULT, Policy(breaker=config)) for config in configs]
    again = shared.planner(Profile.DEFAULT, Policy(breaker=configs[0]))
    assert first.breakers is not None
    assert first.breakers is not again.breakers  # another stands in its place, which knows nothing
    breaker = first.breakers.get("host", "m")
    for _ in range(2):
        breaker.acquire().failure("timeout", 1.0)
    assert breaker.snapshot().callback_errors == 0
    (opened,) = (sample for sample in telemetry.snapshot().gauges if "reopens" in sample.family)
    assert opened.labels == ("host/m", "consecutive", "client")
    assert opened.value > 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_waits_for_no_lock_of_its_parents_threads() -> None:
    telemetry = Telemetry()
    shared = Shared(telemetry, Time(clock=lambda: 0.0))
    own = Policy(breaker=BreakerConfig(consecutive=2))

    def breaker() -> CircuitBreaker:
        breakers = shared.planner(Profile.DEFAULT, own).breakers
        assert breakers is not None
        return breakers.get("host", "m")

    parents = breaker()
    shared.series("host/m")
    parents.acquire().failure("timeout", 1.0)
    parents.acquire().failure("timeout", 1.0)
    random = shared.times.rng.getstate()
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with parents._lock:
            inside.set()
            leave.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(60)
    child = os.fork()
    if child == 0:  # pragma: no cover  # the child leaves without telling coverage
        signal.alarm(20)
        fine = breaker().state is BreakerState.CLOSED and shared.times.rng.getstate() != random
        shown = telemetry.value("claude_breaker_state", breaker="host/m", state="closed")
        os._exit(0 if fine and shown == 1 and telemetry.value("claude_retry_budget_ratio") == 1 else 1)
    leave.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert breaker() is parents
    assert parents.state is BreakerState.OPEN


def test_the_metrics_follow_what_time_alone_changes() -> None:
    now = [0.0]
    telemetry = Telemetry()
    shared = Shared(telemetry, Time(clock=lambda: now[0]))
    own = Policy(breaker=BreakerConfig(consecutive=2, open_for=10))
    planner = shared.planner(Profile.DEFAULT, own)
    assert planner.breakers is not None
    breaker = planner.breakers.get("host", "m")
    for _ in range(2):
        breaker.acquire().failure("timeout", 1.0)
    assert telemetry.value("claude_breaker_state", breaker="host/m", state="open") == 1
    (why,) = (sample.labels for sample in telemetry.snapshot().gauges if "reopens" in sample.family)
    assert why == ("host/m", "consecutive", "client")
    now[0] = 11.0
    breaker_states = {labels["state"]: value for labels, value in telemetry.values("claude_breaker_state")}
    assert breaker_states == {state.value: float(state is BreakerState.HALF_OPEN) for state in BreakerState}
    assert telemetry.value("claude_breaker_transitions_total") == 2
    assert planner.budget is not None
    planner.budget.withdraw()
    assert telemetry.value("claude_retry_budget_ratio") == pytest.approx(0.9)
    assert any(sample.family == "claude_retry_budget_ratio" for sample in telemetry.snapshot().gauges)


def test_the_console_says_why_a_breaker_opened_and_when_it_tries_again() -> None:
    now = [1000.0]
    telemetry = Telemetry(wall=lambda: now[0] + 1e9)
    console = Console(telemetry, mode="client")
    shared = Shared(telemetry, Time(clock=lambda: now[0]))
    planner = shared.planner(Profile.DEFAULT, Policy(breaker=BreakerConfig(consecutive=2, open_for=10)))
    assert planner.breakers is not None
    breaker = planner.breakers.get("host", "vendor/m")

    def shown() -> Any:
        (found,) = console.status()["breakers"]
        return found["name"], found["state"], found["reason_text"], found["reopens_at"]

    for _ in range(2):
        breaker.acquire().failure("timeout", 1.0)
    assert shown() == ("host/vendor/m", "open", "too many failures in a row", 1e9 + 1010)
    now[0] += 11
    assert breaker.state is BreakerState.HALF_OPEN
    assert shown() == ("host/vendor/m", "half_open", None, None)
    breaker.force_open()
    assert shown() == ("host/vendor/m", "forced_open", "forced by hand", None)
    breaker.reset()
    assert shown() == ("host/vendor/m", "closed", None, None)
    console.close()


def test_a_limit_that_is_none_has_no_series() -> None:
    telemetry = Telemetry()
    endless = Policies(choice=Policy(timeouts=Timeouts(total=None, stall=None)), shared=Shared(telemetry, Time()))
    endless.planner(Profile.DEFAULT, timeouts=None, attempts=None)
    told = {labels["phase"] for labels, _ in telemetry.values("claude_timeout_setting_seconds")}
    assert told == {Phase.POOL, Phase.CONNECT, Phase.WRITE, Phase.FIRST_BYTE}


def test_threads_get_the_same_planner() -> None:
    shared, own = Shared(Telemetry(), Time()), Policy()
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(shared.planner(Profile.DEFAULT, own))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
