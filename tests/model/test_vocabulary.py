"""The words are a promise: this file spells them out once more, so that a rename cannot pass unnoticed."""

import dataclasses

import pytest

from sidecar.model import (
    ATTEMPT_OUTCOMES,
    AVAILABILITY_FAILURES,
    NEVER_COUNTED,
    AttemptRecord,
    BreakerState,
    CallRecord,
    LimitKind,
    Outcome,
    Phase,
    Profile,
    RetryResult,
    Source,
    TokenKind,
    Usage,
)

ATTEMPT = AttemptRecord(
    source=Source.CLIENT,
    endpoint="messages",
    model="claude-x",
    profile=Profile.DEFAULT,
    stream=False,
    number=0,
    started_at=1.0,
    duration=0.5,
    outcome=Outcome.OK,
)


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        (
            Outcome,
            """ok timeout rate_limited overloaded server_error connection_error client_error truncated cancelled
            rejected""",
        ),
        (Phase, "pool connect write first_byte stall deadline gateway client"),
        (Profile, "interactive background realtime agentic default"),
        (Source, "client proxy inferred"),
        (RetryResult, "recovered exhausted abandoned"),
        (TokenKind, "input output cache_read cache_write"),
        (LimitKind, "requests input_tokens output_tokens tokens"),
        (BreakerState, "closed open half_open forced_open disabled observe_only"),
    ],
)
def test_the_words_are_the_contracts(words: type[Outcome], spelled: str) -> None:
    assert [str(word) for word in words] == spelled.split()


def test_every_outcome_is_good_or_a_failure_or_never_counted() -> None:
    assert {Outcome.OK} | AVAILABILITY_FAILURES | NEVER_COUNTED == set(Outcome)
    assert {str(outcome) for outcome in AVAILABILITY_FAILURES} == {
        "timeout",
        "overloaded",
        "server_error",
        "connection_error",
        "truncated",
        "rejected",
        "rate_limited",
    }


def test_an_attempt_is_never_rejected() -> None:
    assert set(ATTEMPT_OUTCOMES) == set(Outcome) - {Outcome.REJECTED}


@pytest.mark.parametrize("record", [AttemptRecord, CallRecord])
def test_a_record_cannot_be_changed_and_carries_no_dict(record: type) -> None:
    assert "__slots__" in vars(record)
    with pytest.raises(dataclasses.FrozenInstanceError):
        ATTEMPT.duration = 2.0  # type: ignore[misc]
    assert not hasattr(ATTEMPT, "__dict__")


def test_the_prompt_counts_what_came_from_the_cache() -> None:
    assert Usage(input=5, output=100, cache_read=20, cache_write=3).prompt == 28
