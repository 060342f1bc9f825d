"""Which timeouts are in force, as clients tell the metrics: those that are only observed, and those under a policy."""

from dataclasses import replace
from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.client.timeout_settings import InForce, in_force_for
from sidecar.model import Profile
from sidecar.policy import Policy, Timeouts
from sidecar.telemetry import Telemetry
from tests.client.survive import KINDS, Kind

ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
OF_THE_SDK = {"pool": 600.0, "connect": 5.0, "write": 600.0, "first_byte": 600.0, "stall": 600.0}


def client_of(kind: Kind, telemetry: Any, **more: Any) -> Any:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=ANSWER))
    http = httpx2.Client(transport=transport) if kind.name == "sync" else httpx2.AsyncClient(transport=transport)
    return kind.client(telemetry, "http://test", http_client=http, **more)


def in_force(telemetry: Telemetry, profile: str = "default") -> dict[str, float]:
    found = telemetry.values("claude_timeout_setting_seconds", profile=profile, source="client")
    return {labels["phase"]: value for labels, value in found}


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def timed(client: Any) -> Clock:
    """Give a client a time of its own."""
    clock = Clock()
    client.__dict__["_sidecar"] = replace(client.__dict__["_sidecar"], clock=clock)
    return clock


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_client_that_is_only_observed_tells_the_sdks_own(kind: Kind, ask: Any) -> None:
    """Of a read timeout both phases are made that it bounds; a call has no total."""
    telemetry = Telemetry()
    kind.create(client_of(kind, telemetry), ask)
    assert in_force(telemetry) == OF_THE_SDK


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_profile_has_those_of_its_own_requests(kind: Kind, ask: Any) -> None:
    telemetry = Telemetry()
    kind.create(client_of(kind, telemetry, profile="realtime", timeout=httpx2.Timeout(8.0, connect=1.0)), ask)
    kind.create(client_of(kind, telemetry, profile="background", timeout=None), ask)
    assert in_force(telemetry, "realtime") == {
        "pool": 8.0,
        "connect": 1.0,
        "write": 8.0,
        "first_byte": 8.0,
        "stall": 8.0,
    }
    assert in_force(telemetry, "background") == {}


def test_of_requests_that_differ_the_newest_stands(ask: Any) -> None:
    telemetry = Telemetry()
    client = client_of(KINDS[0], telemetry)
    clock = timed(client)
    seen = []
    for options in ({}, {"timeout": 30.0}, {"timeout": None}, {}):
        clock.now += 1
        client.messages.create(**ask, **options)
        seen.append(in_force(telemetry).get("first_byte"))
    client.with_options(timeout=20.0).messages.create(**ask)
    seen.append(in_force(telemetry).get("first_byte"))  # the same moment: not yet
    clock.now += 1
    client.with_options(timeout=20.0).messages.create(**ask)
    seen.append(in_force(telemetry).get("first_byte"))
    assert seen == [600.0, 30.0, None, 600.0, 600.0, 20.0]


def test_clients_that_report_to_one_telemetry_are_told_of_together(ask: Any) -> None:
    telemetry = Telemetry()
    patient, hasty = client_of(KINDS[0], telemetry), client_of(KINDS[0], telemetry, timeout=3.0)
    clock = timed(patient)
    hasty.__dict__["_sidecar"] = replace(hasty.__dict__["_sidecar"], clock=clock)
    seen = []
    for client in (patient, hasty, patient):
        clock.now += 1
        client.messages.create(**ask)
        seen.append(in_force(telemetry)["first_byte"])
    assert seen == [600.0, 3.0, 600.0]


def test_what_is_the_same_is_told_once(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    telemetry = Telemetry()
    monkeypatch.setattr(telemetry, "timeouts", lambda *args: told.append(args))
    client = client_of(KINDS[0], telemetry)
    clock = timed(client)
    for _ in range(3):
        clock.now += 1
        client.messages.create(**ask)
    assert len(told) == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_under_a_policy_its_limits_are_told_or_those_given_with_the_call(kind: Kind, ask: Any) -> None:
    telemetry = Telemetry()
    own = Policy(timeouts=Timeouts(connect=1.0, pool=2.0, write=3.0, first_byte=4.0, stall=5.0, total=60.0))
    kind.create(client_of(kind, telemetry, policy=own), ask)
    assert in_force(telemetry) == {
        "connect": 1.0,
        "pool": 2.0,
        "write": 3.0,
        "first_byte": 4.0,
        "stall": 5.0,
        "deadline": 60.0,
    }
    given = Telemetry()
    kind.create(client_of(kind, given, policy=own), {**ask, "timeout": 9.0})
    assert in_force(given) == {"connect": 9.0, "pool": 9.0, "write": 9.0, "first_byte": 9.0, "stall": 9.0}


def test_policies_and_none_are_told_of_together() -> None:
    told: list[Any] = []

    class Told:
        def timeouts(self, profile: Profile, settings: Any) -> None:
            told.append((profile, settings["first_byte"]))

    settings, telemetry = InForce(), Told()
    policy = Timeouts(first_byte=4.0)
    for now, found in enumerate((policy, {"read": 600.0}, policy)):
        settings.tell(telemetry, Profile.DEFAULT, found, now=float(now))  # type: ignore[arg-type]
        assert settings.told[Profile.DEFAULT] == found
    assert told == [(Profile.DEFAULT, 4.0), (Profile.DEFAULT, 600.0), (Profile.DEFAULT, 4.0)]


class Deaf:
    """A reporter that wants records only, and cannot be told from its likes."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.in_flight = Telemetry().in_flight
        self.calls: list[Any] = []
        self.faults: list[str] = []

    def attempt(self, _: Any) -> None:
        """Not wanted."""

    def call(self, record: Any) -> None:
        self.calls.append(record)

    def internal_error(self, where: str, _: BaseException) -> None:
        self.faults.append(where)


class Raising(Deaf):
    """One that fails when it is told."""

    def timeouts(self, *_: Any) -> None:
        raise OSError("disk full")


@pytest.mark.parametrize(("kind", "faults"), [(Deaf, []), (Raising, ["client.timeouts"])])
def test_no_call_suffers_from_who_is_told(ask: Any, kind: Any, faults: list[str]) -> None:
    reporter = kind()
    assert in_force_for(reporter) is not in_force_for(reporter)
    assert KINDS[0].create(client_of(KINDS[0], reporter), ask).stop_reason == "end_turn"
    assert [call.attempts for call in reporter.calls] == [1]
    assert reporter.faults == faults


def test_a_request_that_has_no_timeouts_tells_none(ask: Any) -> None:
    telemetry = Telemetry()

    class Bare(httpx2.Client):
        def build_request(self, *args: Any, **more: Any) -> httpx2.Request:
            request = super().build_request(*args, **more)
            request.extensions.pop("timeout")
            return request

    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=ANSWER))
    with anthropic.Anthropic(api_key="k", http_client=Bare(transport=transport)) as client:
        sidecar.instrument(client, telemetry=telemetry)
        client.messages.create(**ask)
    assert in_force(telemetry) == {}
    assert telemetry.value("claude_calls_total") == 1
