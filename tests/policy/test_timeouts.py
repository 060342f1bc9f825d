import inspect
from dataclasses import FrozenInstanceError, fields

import pytest

import sidecar
from sidecar.model import Phase, Profile
from sidecar.policy import PROFILES, Timeouts


def test_every_profile_has_its_timeouts() -> None:
    assert set(PROFILES) == set(Profile)
    assert sidecar.Timeouts is Timeouts


@pytest.mark.parametrize(
    ("profile", "total"),
    [("realtime", 25), ("interactive", 75), ("agentic", 150), ("background", 300), ("default", None)],
)
def test_the_totals_are_those_that_are_promised(profile: str, total: float | None) -> None:
    assert PROFILES[Profile(profile)].total == total


def test_the_default_profile_is_the_sdk_s_own() -> None:
    assert PROFILES[Profile.DEFAULT] == Timeouts(
        connect=5.0, pool=600.0, write=600.0, first_byte=600.0, stall=600.0, total=None
    )


@pytest.mark.parametrize("profile", [profile for profile in Profile if profile is not Profile.DEFAULT])
def test_no_phase_of_a_profile_outlasts_its_total(profile: Profile) -> None:
    timeouts = PROFILES[profile]
    assert timeouts.total is not None
    limits = [getattr(timeouts, field.name) for field in fields(timeouts)]
    assert max(limits) == timeouts.total
    assert None not in limits


def test_profiles_are_data_nobody_can_change_in_passing() -> None:
    with pytest.raises(TypeError):
        PROFILES[Profile.DEFAULT] = Timeouts()  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        PROFILES[Profile.DEFAULT].total = 1.0  # type: ignore[misc]


def test_every_bad_timeout_is_named_at_once() -> None:
    with pytest.raises(ValueError, match="timeouts") as raised:
        Timeouts(connect=0, pool=-1, write=float("nan"), first_byte=float("inf"), stall="5", total=True)  # type: ignore[arg-type]
    assert str(raised.value) == "timeouts: " + "; ".join(
        f"{name} must be a finite number above 0, or None, got {value}"
        for name, value in [
            ("connect", "0"),
            ("pool", "-1"),
            ("write", "nan"),
            ("first_byte", "inf"),
            ("stall", "'5'"),
            ("total", "True"),
        ]
    )


def test_none_is_no_limit() -> None:
    free = Timeouts(connect=None, pool=None, write=None, first_byte=None, stall=None, total=None)
    assert free.for_attempt(None, stream=True) is free
    assert free.for_attempt(8.0, stream=True) == Timeouts(
        connect=8.0, pool=8.0, write=8.0, first_byte=8.0, stall=8.0, total=8.0
    )


def test_they_are_told_by_phase_and_the_total_as_the_deadline() -> None:
    timeouts = Timeouts(connect=1.0, pool=2.0, write=3.0, first_byte=4.0, stall=None, total=6.0)
    assert timeouts.by_phase() == {
        Phase.CONNECT: 1.0,
        Phase.POOL: 2.0,
        Phase.WRITE: 3.0,
        Phase.FIRST_BYTE: 4.0,
        Phase.STALL: None,
        Phase.DEADLINE: 6.0,
    }


def test_an_attempt_fits_into_what_remains() -> None:
    timeouts = Timeouts(connect=1.0, pool=2.0, write=9.0, first_byte=3.0, stall=10.0, total=75.0)
    assert timeouts.for_attempt(5.0, stream=True) == Timeouts(
        connect=1.0, pool=2.0, write=5.0, first_byte=3.0, stall=5.0, total=5.0
    )


def test_an_answer_that_is_not_streamed_may_be_silent_for_all_that_remains() -> None:
    timeouts = Timeouts(connect=1.0, pool=20.0, write=2.0, first_byte=3.0, stall=4.0, total=75.0)
    assert timeouts.for_attempt(15.0, stream=False) == Timeouts(
        connect=1.0, pool=15.0, write=2.0, first_byte=15.0, stall=4.0, total=15.0
    )
    assert timeouts.for_attempt(None, stream=False) is timeouts


@pytest.mark.parametrize("remaining", [0.0, -3.0, 0.0005])
def test_an_attempt_s_timeouts_are_never_zero(remaining: float) -> None:
    timeouts = Timeouts().for_attempt(remaining, stream=True)
    assert {getattr(timeouts, field.name) for field in fields(timeouts)} == {0.001}


# --- advise ----------------------------------------------------------------------------------------------------------


def test_a_call_that_fits_gets_no_advice() -> None:
    assert PROFILES[Profile.INTERACTIVE].advise(1000, stream=True) is None
    assert PROFILES[Profile.INTERACTIVE].advise(0, stream=False) is None


def test_exactly_as_long_as_there_is_time_fits() -> None:
    timeouts = PROFILES[Profile.REALTIME]
    assert timeouts.advise(1250, stream=True, tokens_per_second=50.0) is None
    advice = timeouts.advise(1251, stream=True, tokens_per_second=50.0)
    assert advice is not None
    assert (advice.needed, advice.limit, advice.phase) == (1251 / 50, 25.0, Phase.DEADLINE)
    assert (
        str(advice)
        == advice.reason
        == (
            "1251 tokens at 50 tokens/s take 25 s, but total is 25 s: ask for at most 1250 tokens, raise the timeout"
            " or use a profile with more time"
        )
    )


def test_an_answer_that_is_not_streamed_is_limited_by_the_total_too() -> None:
    advice = PROFILES[Profile.INTERACTIVE].advise(8000, stream=False, tokens_per_second=80.0)
    assert advice is not None
    assert (advice.needed, advice.limit, advice.phase) == (100.0, 75.0, Phase.DEADLINE)


def test_without_a_total_a_silent_answer_is_limited_by_its_first_byte_as_the_sdk_reckons() -> None:
    default = PROFILES[Profile.DEFAULT]
    assert default.advise(21_333, stream=False) is None
    advice = default.advise(21_334, stream=False)
    assert advice is not None
    assert (advice.limit, advice.phase) == (600.0, Phase.FIRST_BYTE)
    assert advice.reason == (
        "21334 tokens at 35.6 tokens/s take 600 s, but first_byte is 600 s and streams nothing: ask for at most"
        " 21333 tokens, stream the answer with a longer timeout or use a profile with more time"
    )


def test_without_a_total_a_stream_may_take_its_time() -> None:
    assert PROFILES[Profile.DEFAULT].advise(10**9, stream=True) is None
    assert Timeouts(first_byte=None).advise(10**9, stream=False) is None


def test_what_it_is_asked_is_checked() -> None:
    with pytest.raises(ValueError, match="advise") as raised:
        Timeouts().advise(-1, stream=True, tokens_per_second=0.0)
    assert str(raised.value) == (
        "advise: max_tokens must be a whole number at least 0 and at most 1e+09, got -1; "
        "tokens_per_second must be a finite number above 0, got 0.0"
    )
    with pytest.raises(ValueError, match="max_tokens"):
        Timeouts().advise(10**9 + 1, stream=True)


def test_stream_may_be_given_by_position() -> None:
    assert list(inspect.signature(Timeouts.advise).parameters) == ["self", "max_tokens", "stream", "tokens_per_second"]
    assert PROFILES[Profile.REALTIME].advise(10**6, True) is not None  # noqa: FBT003  # that is the point
