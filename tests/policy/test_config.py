import tomllib
from dataclasses import FrozenInstanceError, replace

import pytest

import sidecar
from sidecar.model import Profile
from sidecar.policy import (
    PROFILES,
    BreakerConfig,
    BudgetConfig,
    Policy,
    Retry,
    SettingsError,
    Timeouts,
    policies,
)


def faults(text: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        Policy.from_toml(text)
    assert raised.value.subject == "policy"
    return [f"{name} {problem}" for name, problem in raised.value.faults]


@pytest.mark.parametrize("profile", Profile)
def test_every_profile_has_a_policy(profile: Profile) -> None:
    policy = Policy.for_profile(profile)
    assert policy == Policy(
        profile=profile,
        timeouts=PROFILES[profile],
        retry=Retry(),
        retry_budget=BudgetConfig(),
        breaker=BreakerConfig(),
    )
    assert Policy.for_profile(str(profile)) == policy
    assert sidecar.Policy is Policy


def test_without_a_word_it_is_the_default_profile_s() -> None:
    assert Policy() == Policy.from_toml("") == Policy.from_table({}) == Policy.for_profile("default")


def test_whole_answers_are_streamed_underneath_where_the_newest_word_says_so() -> None:
    text = """
        stream_underneath = true
        [profiles.interactive]
        stream_underneath = false
        [profiles.agentic.retry]
        max_attempts = 2
    """
    found = policies(tomllib.loads(text))
    assert {profile for profile, policy in found.items() if not policy.stream_underneath} == {Profile.INTERACTIVE}
    assert not any(policy.stream_underneath for policy in policies({}).values())
    assert faults("stream_underneath = 1\nprofiles.default.stream_underneath = 'yes'") == [
        "stream_underneath must be true or false, got 1",
        "profiles.default.stream_underneath must be true or false, got 'yes'",
    ]


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Policy().retry = Retry()  # type: ignore[misc]


def test_a_profile_nobody_knows_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match="policy: profile must be one of interactive, background, realtime, agentic, default, got 'fast'",
    ):
        Policy.for_profile("fast")


def test_a_whole_policy_is_read_from_toml() -> None:
    policy = Policy.from_toml("""
        profile = "interactive"
        [timeouts]
        total = 60
        stall = false
        [retry]
        max_attempts = 2
        jitter = "equal"
        [retry_budget]
        ratio = 0.1
        [breaker]
        consecutive = false
        open_for = 30
    """)
    assert policy == Policy(
        profile=Profile.INTERACTIVE,
        timeouts=replace(PROFILES[Profile.INTERACTIVE], total=60, stall=None),
        retry=Retry(max_attempts=2, jitter="equal"),
        retry_budget=BudgetConfig(ratio=0.1),
        breaker=BreakerConfig(consecutive=None, open_for=30),
    )


def test_profiles_are_overridable_one_by_one() -> None:
    found = policies(
        tomllib.loads("""
        [timeouts]
        connect = 1
        [retry]
        base = 1
        [profiles.realtime.timeouts]
        connect = 2
        total = 20
        [profiles.realtime.retry]
        max_attempts = 1
        [profiles.background.breaker]
        probes = 1
    """)
    )
    assert set(found) == set(Profile)
    assert all(policy.profile is profile for profile, policy in found.items())
    assert found[Profile.REALTIME].timeouts == replace(PROFILES[Profile.REALTIME], connect=2, total=20)
    assert found[Profile.REALTIME].retry == Retry(max_attempts=1, base=1)
    assert found[Profile.REALTIME].breaker == BreakerConfig()
    assert found[Profile.BACKGROUND].breaker == BreakerConfig(probes=1)
    for profile in set(Profile) - {Profile.REALTIME}:
        assert found[profile].timeouts == replace(PROFILES[profile], connect=1)
        assert found[profile].retry == Retry(base=1)


def test_false_switches_a_part_off_and_a_later_table_on_again() -> None:
    found = policies(
        tomllib.loads("""
        breaker = false
        retry_budget = false
        [profiles.realtime.breaker]
        probes = 2
        [profiles.agentic]
        retry_budget = {}
    """)
    )
    assert (found[Profile.DEFAULT].breaker, found[Profile.DEFAULT].retry_budget) == (None, None)
    assert found[Profile.REALTIME].breaker == BreakerConfig(probes=2)
    assert found[Profile.REALTIME].retry_budget is None
    assert found[Profile.AGENTIC].retry_budget == BudgetConfig()


def test_false_switches_a_part_off_for_one_profile() -> None:
    found = policies({"breaker": {"probes": 2}, "profiles": {"realtime": {"breaker": False}}})
    assert found[Profile.REALTIME].breaker is None
    assert found[Profile.DEFAULT].breaker == BreakerConfig(probes=2)


def test_false_switches_off_whatever_may_be_missing() -> None:
    policy = Policy.from_table({"breaker": {"consecutive": False, "failure_ratio": False, "slow_after": False}})
    assert policy.breaker == BreakerConfig(consecutive=None, failure_ratio=None, slow_after=None)
    assert Policy.from_table({"timeouts": {"total": False, "connect": False}}).timeouts == Timeouts(connect=None)


def test_every_fault_is_listed_at_once_with_its_place() -> None:
    assert faults("""
        profile = "fast"
        nonsense = 1
        retry = 3
        [timeouts]
        total = -1
        totl = 5
        [breaker]
        probes = 0
        open_for = 400
        slow_ratio = false
        [profiles.realtime]
        timeout = 5
        [profiles.realtime.timeouts]
        connect = nan
        [profiles.slow]
    """) == [
        "profile must be one of interactive, background, realtime, agentic, default, got 'fast'",
        "nonsense is not known; known are timeouts, retry, retry_budget, breaker, stream_underneath, profiles",
        "profiles.slow is not known; known are interactive, background, realtime, agentic, default",
        "timeouts.totl is not known; known are connect, pool, write, first_byte, stall, total",
        "timeouts.total must be a finite number above 0, or None, got -1",
        "retry must be a table, got 3",
        "breaker.slow_ratio must be a finite number above 0 and at most 1, got False",
        "breaker.max_open_for must be a finite number at least 400, got 300.0",
        "breaker.probes must be a whole number at least 1 and at most 1000, got 0",
        "profiles.realtime.timeout is not known; known are timeouts, retry, retry_budget, breaker, stream_underneath",
        "profiles.realtime.timeouts.connect must be a finite number above 0, or None, got nan",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("profiles = 1", "profiles must be a table, got 1"),
        ("[profiles]\nrealtime = 1", "profiles.realtime must be a table, got 1"),
        ("[profiles.realtime]\nretry = true", "profiles.realtime.retry must be a table, got True"),
        ("breaker = true", "breaker must be a table, got True"),
        ("retry = false", "retry must be a table, got False"),
        ("timeouts = 'none'", "timeouts must be a table, got 'none'"),
        ("profile = 1", "profile must be one of interactive, background, realtime, agentic, default, got 1"),
        ("[retry]\njitter = 'some'", "retry.jitter must be one of full, equal, none, got 'some'"),
        (
            "[retry_budget]\nttl = 0",
            "retry_budget.ttl must be a whole number of seconds at least 1 and at most 3600, got 0",
        ),
    ],
)
def test_what_is_of_the_wrong_kind_is_told(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_a_fault_of_one_profile_alone_is_told_of_that_profile() -> None:
    assert faults("[breaker]\nmax_open_for = 100\n[profiles.realtime.breaker]\nopen_for = 200") == [
        "breaker.max_open_for must be a finite number at least 200, got 100"
    ]


def test_what_is_not_toml_is_told() -> None:
    (fault,) = faults("[retry")
    assert fault.startswith("text is not TOML: Expected ']'")


def test_the_policies_of_all_profiles_need_no_profile_named() -> None:
    with pytest.raises(ValueError, match=r"^policy: profile is not known"):
        policies({"profile": "realtime"})
    assert policies({})[Profile.REALTIME] == Policy.for_profile("realtime")
