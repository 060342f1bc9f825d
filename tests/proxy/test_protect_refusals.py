"""What a protected proxy answers at once instead of sending: open breakers, spent deadlines, full queues."""

from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.console import Console
from sidecar.model import Outcome, Phase, Profile, RetryResult, Source
from sidecar.proxy.limits import Limits
from tests.proxy.kit import answer
from tests.proxy.protected import BODY, JSON, MESSAGE, OVERLOADED, SDK, SLOT, Protected, ask, limited, protection

REJECTED = Outcome.REJECTED
NAME = "up.test/claude-sonnet-5"
OTHER = BODY.replace(b"sonnet", b"haiku")
BREAKER = {"retry": {"max_attempts": 1}, "breaker": {"consecutive": 2, "open_for": 30, "open_jitter": 0}}


@pytest.fixture(autouse=True)
def _all_ended() -> Iterator[None]:
    yield
    Protected.end_all()


def opened(**settings: object) -> Protected:
    """Have the breaker of one model open."""
    talk = Protected(protection(BREAKER, **settings))
    for _ in range(2):
        talk.say(ask())
        talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
        assert talk.answered()[0] == 529
    return talk


@pytest.mark.parametrize(("status", "error_type"), [(529, "overloaded_error"), (503, "api_error")])
def test_an_open_breaker_answers_at_once(status: int, error_type: str) -> None:
    talk = opened(breaker_status=status)
    talk.wait(10)
    talk.say(ask())
    got, headers, body = talk.answered()
    assert (got, body["error"]["type"]) == (status, error_type)
    assert (headers[b"x-sidecar-error"], headers[b"retry-after"]) == (b"breaker_open", b"20")
    assert len(talk.sent) == 2


def test_an_open_breaker_is_told_of() -> None:
    talk = opened()
    assert talk.telemetry.value("claude_breaker_state", breaker=NAME, state="open") == 1
    assert talk.telemetry.value("claude_breaker_transitions_total", breaker=NAME, **{"from": "closed"}, to="open") == 1
    talk.wait(1.1)
    assert talk.telemetry.value("claude_breaker_failure_ratio", breaker=NAME) == 1
    assert talk.telemetry.value("claude_breaker_rejections_total") == 0
    talk.say(ask())
    assert talk.telemetry.value("claude_breaker_rejections_total", breaker=NAME) == 1
    talk.__exit__()
    call = talk.records.calls[-1]
    assert (call.outcome, call.attempts, call.error_type, call.model) == (
        REJECTED,
        0,
        "breaker_open",
        "claude-sonnet-5",
    )
    assert len(talk.records.attempts) == 2


def breakers_shown(talk: Protected) -> list[tuple[Any, ...]]:
    """Take from the console's status document what it says of the breakers."""
    console = Console(talk.telemetry, mode="proxy")
    shown = console.status(source=Source.PROXY)["breakers"]
    console.close()
    return [(each["name"], each["state"], each["reason_text"], each["reopens_at"]) for each in shown]


def test_the_console_says_why_a_breaker_opened_and_when_it_tries_again() -> None:
    talk = opened()
    first = talk.now + 1e9 + 30
    assert breakers_shown(talk) == [(NAME, "open", "too many failures in a row", first)]
    talk.wait(31)
    assert breakers_shown(talk) == [(NAME, "half_open", None, None)]
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    again = round(talk.now + 1e9 + 60, 1)  # twice as long as the first time
    assert breakers_shown(talk) == [(NAME, "open", "its trial calls failed", again)]


def test_the_console_gives_no_time_for_a_breaker_that_an_operator_has_opened() -> None:
    talk = Protected(protection(BREAKER))
    assert talk.shield.breakers is not None
    breaker = talk.shield.breakers.get("up.test", "claude-sonnet-5")
    breaker.force_open()
    assert breakers_shown(talk) == [(NAME, "forced_open", "forced by hand", None)]
    breaker.reset()
    assert breakers_shown(talk) == [(NAME, "closed", None, None)]


def test_an_open_breaker_stops_no_other_model_and_no_other_request() -> None:
    talk = opened()
    talk.say(ask(OTHER))
    talk.reply(answer(MESSAGE, JSON))
    assert talk.answered()[0] == 200
    talk.say(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.reply(answer(b"{}", JSON))
    assert talk.answered()[0] == 200
    assert {breaker.name for breaker in talk.shield.breakers.all()} == {NAME, NAME.replace("sonnet", "haiku")}  # type: ignore[union-attr]


def test_a_request_without_a_model_has_no_breaker() -> None:
    talk = Protected(protection(BREAKER))
    for _ in range(3):
        talk.say(ask(b"{}"))
        talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
        assert b"x-sidecar-error" not in talk.answered()[1]


def test_a_breaker_closes_when_its_probes_pass() -> None:
    talk = opened()
    talk.wait(31)
    assert talk.telemetry.value("claude_breaker_state", breaker=NAME, state="half_open") == 1
    for _ in range(3):
        talk.say(ask())
        talk.reply(answer(MESSAGE, JSON))
    assert talk.telemetry.value("claude_breaker_state", breaker=NAME, state="closed") == 1


def test_a_breaker_that_an_operator_has_opened_says_when_to_ask_again() -> None:
    talk = Protected(protection(BREAKER))
    assert talk.shield.breakers is not None
    talk.shield.breakers.get("up.test", "claude-sonnet-5").force_open()
    talk.say(ask())
    assert talk.answered()[1][b"retry-after"] == b"60"
    assert talk.told()[1].outcome is REJECTED


def test_a_breaker_that_opens_during_a_call_ends_its_retries() -> None:
    talk = Protected(protection({"breaker": {"consecutive": 1, "open_for": 30, "open_jitter": 0}}))
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    status, headers, _ = talk.answered()
    assert (status, headers[b"x-should-retry"]) == (529, b"false")
    assert talk.told()[1].outcome is Outcome.OVERLOADED


def test_a_breaker_can_be_switched_off_for_a_profile() -> None:
    table = {**BREAKER, "profiles": {"background": {"breaker": False}}}
    talk = Protected(protection(table), profile=Profile.BACKGROUND)
    for _ in range(3):
        talk.say(ask())
        talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    assert len(talk.sent) == 3


def test_a_retry_budget_that_is_spent_ends_retries_and_shows() -> None:
    talk = Protected(protection({"retry_budget": {"ratio": 0, "min_per_second": 0.1}}))
    for request in range(2):
        talk.say(ask(headers=SDK % 0))
        for _ in range(2 - request):
            talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
            talk.wait(1 + SLOT)
        assert talk.answered()[0] == 529
    assert talk.telemetry.value("claude_retry_budget_ratio", scope="default") == 0
    assert len(talk.sent) == 3
    talk.__exit__()
    assert [call.retry_result for call in talk.records.calls] == [RetryResult.ABANDONED, None]


# --- deadlines


def test_a_deadline_that_is_spent_is_answered_at_once() -> None:
    talk = Protected()
    talk.say(ask(headers=SDK % 0 + b"x-sidecar-deadline-ms: 0\r\n"))
    status, headers, body = talk.answered()
    assert (status, headers[b"x-sidecar-error"], body["error"]["type"]) == (504, b"deadline_spent", "timeout_error")
    attempts, call = talk.told()
    assert (attempts, call.outcome, call.phase, call.attempts) == ([], REJECTED, Phase.DEADLINE, 0)


def test_a_deadline_is_spent_while_the_body_comes() -> None:
    talk = Protected()
    whole = ask(headers=SDK % 0 + b"x-sidecar-deadline-ms: 2000\r\n")
    talk.say(whole[:-10])
    talk.wait(3)
    talk.say(whole[-10:])
    assert talk.answered()[1][b"x-sidecar-error"] == b"deadline_spent"
    assert not talk.sent


@pytest.mark.parametrize("total", [60.0, 4.0])
def test_the_sooner_of_the_callers_deadline_and_the_profiles_total_holds(total: float) -> None:
    talk = Protected(protection(limited(total=total)))
    talk.say(ask(headers=SDK % 0 + b"X-Sidecar-Deadline-Ms: 5000\r\n"))
    assert b"deadline" not in talk.last.written.lower()
    talk.wait(min(total, 5.0) - 0.1)
    assert not talk.heard()
    talk.wait(0.1 + SLOT)
    assert talk.answered()[1][b"x-sidecar-error"] == b"deadline_timeout"
    assert talk.told()[1].phase is Phase.DEADLINE


@pytest.mark.parametrize("said", [b"-1", b"1.5", b"soon", b"", b"1" * 11])
def test_a_deadline_that_is_no_number_is_refused(said: bytes) -> None:
    talk = Protected()
    talk.say(ask(headers=b"x-sidecar-deadline-ms: %b\r\n" % said))
    status, headers, _ = talk.answered()
    assert (status, headers[b"x-sidecar-error"]) == (400, b"bad_request")
    assert talk.told()[1].outcome is Outcome.CLIENT_ERROR


# --- the queue


def full(**settings: object) -> Protected:
    """Have one request under way where there is room for one."""
    talk = Protected(protection(**{"concurrency": 1, "queue": 1, "queue_seconds": 4.0, **settings}))  # type: ignore[arg-type]
    talk.say(ask())
    assert len(talk.sent) == 1
    return talk


def test_a_request_waits_for_its_turn() -> None:
    talk = full()
    other = talk.another()
    talk.say_as(other, ask(OTHER))
    talk.wait(3)
    assert len(talk.sent) == 1
    talk.reply(answer(MESSAGE, JSON))
    assert talk.sent == [BODY, OTHER]
    talk.reply(answer(MESSAGE, JSON))
    assert b"200 OK" in talk.heard_by(other)
    talk.__exit__()
    waited = next(call for call in talk.records.calls if call.model == "claude-haiku-5")
    assert waited.duration == pytest.approx(3.0, abs=SLOT)
    assert waited.attempts == 1


def test_a_request_waits_no_longer_than_it_may() -> None:
    talk = full()
    other = talk.another()
    talk.say_as(other, ask(OTHER))
    talk.wait(4 + SLOT)
    heard = talk.heard_by(other)
    assert b"503 Service Unavailable" in heard
    assert b"x-sidecar-error: queue_timeout" in heard
    assert b"retry-after: 1\r\n" in heard
    assert b"x-should-retry" not in heard
    talk.__exit__()
    assert {call.outcome for call in talk.records.calls} == {REJECTED, Outcome.CANCELLED}


def test_a_queue_that_is_full_refuses_at_once() -> None:
    talk = full()
    waiting, refused = talk.another(), talk.another()
    talk.say_as(waiting, ask(OTHER))
    talk.say_as(refused, ask(OTHER))
    assert b"x-sidecar-error: queue_full" in talk.heard_by(refused)
    assert not talk.heard_by(waiting)


def test_a_client_that_leaves_the_queue_makes_room_in_it() -> None:
    talk = full()
    leaving, next_one = talk.another(), talk.another()
    talk.say_as(leaving, ask(OTHER))
    leaving[0].eof_received()
    talk.settle()
    talk.say_as(next_one, ask(OTHER))
    talk.reply(answer(MESSAGE, JSON))
    talk.reply(answer(MESSAGE, JSON))
    assert b"200 OK" in talk.heard_by(next_one)
    talk.__exit__()
    outcomes = sorted((call.outcome.value, call.attempts) for call in talk.records.calls)
    assert outcomes == [("cancelled", 0), ("ok", 1), ("ok", 1)]


def test_models_wait_for_their_own_turn_only() -> None:
    talk = full(concurrency_per="model")
    other, same = talk.another(), talk.another()
    talk.say_as(other, ask(OTHER))
    talk.say_as(same, ask())
    assert talk.sent == [BODY, OTHER]


def test_a_call_that_waits_to_try_again_leaves_its_place_to_others() -> None:
    talk = full()
    other = talk.another()
    talk.say_as(other, ask(OTHER))
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    assert talk.sent == [BODY, OTHER]
    talk.wait(1 + SLOT)
    assert talk.sent == [BODY, OTHER]
    talk.reply(answer(MESSAGE, JSON))
    assert talk.sent == [BODY, OTHER, BODY]


def test_a_retry_whose_turn_does_not_come_ends_the_call_with_its_last_answer() -> None:
    talk = full()
    other = talk.another()
    talk.say_as(other, ask(OTHER))
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    talk.wait(1 + 4 + 2 * SLOT)
    assert talk.answered()[0] == 529
    talk.__exit__()
    call = next(call for call in talk.records.calls if call.model == "claude-sonnet-5")
    assert (call.outcome, call.attempts, call.waits[0].completed) == (Outcome.OVERLOADED, 1, False)


def test_a_deadline_that_passes_in_the_queue_is_spent() -> None:
    talk = full()
    other = talk.another()
    talk.say_as(other, ask(OTHER, headers=b"x-sidecar-deadline-ms: 2000\r\n"))
    talk.wait(2 + SLOT)
    assert b"x-sidecar-error: deadline_spent" in talk.heard_by(other)


def test_an_open_breaker_does_not_wait_for_a_turn() -> None:
    talk = Protected(protection({**BREAKER, "breaker": {"consecutive": 1, "open_jitter": 0}}, concurrency=1))
    talk.say(ask())
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    talk.say(ask(OTHER))
    refused = talk.another()
    talk.say_as(refused, ask())
    assert b"x-sidecar-error: breaker_open" in talk.heard_by(refused)


def test_whoever_is_let_in_and_refused_makes_room_for_the_next() -> None:
    talk = full(queue=3, queue_seconds=60)
    others = [talk.another() for _ in range(3)]
    for other in others[:2]:
        talk.say_as(other, ask(OTHER, headers=b"x-sidecar-deadline-ms: 90000\r\n"))
    talk.say_as(others[2], ask(OTHER))
    assert talk.shield.breakers is not None
    talk.shield.breakers.get("up.test", "claude-haiku-5").force_open()
    talk.reply(answer(MESSAGE, JSON))
    assert all(b"x-sidecar-error: breaker_open" in talk.heard_by(other) for other in others)


# --- calls of several requests


def test_a_call_that_is_rejected_each_time_its_client_asks_is_one_call() -> None:
    talk = Protected(protection(BREAKER, clients_retry=True), Limits())
    assert talk.shield.breakers is not None
    talk.shield.breakers.get("up.test", "claude-sonnet-5").force_open()
    for request in range(3):
        talk.say(ask(headers=SDK % request))
        talk.wait(1)
    attempts, call = talk.told()
    assert (attempts, call.outcome, call.attempts, call.waits) == ([], REJECTED, 0, ())
    assert call.duration == pytest.approx(2.0, abs=0.1)


def test_a_call_whose_retry_is_rejected_is_what_its_last_attempt_was() -> None:
    talk = Protected(protection(BREAKER, clients_retry=True))
    talk.say(ask(headers=SDK % 0))
    talk.reply(answer(OVERLOADED, JSON, status=b"529 Overloaded"))
    assert talk.shield.breakers is not None
    talk.shield.breakers.get("up.test", "claude-sonnet-5").force_open()
    talk.wait(1)
    talk.say(ask(headers=SDK % 1))
    attempts, call = talk.told()
    assert [each.outcome for each in attempts] == [Outcome.OVERLOADED]
    assert (call.outcome, call.attempts, call.waits[0].completed) == (Outcome.OVERLOADED, 1, False)


def test_a_call_that_was_rejected_first_and_answered_then_is_ok() -> None:
    talk = Protected(protection(BREAKER, clients_retry=True))
    assert talk.shield.breakers is not None
    breaker = talk.shield.breakers.get("up.test", "claude-sonnet-5")
    breaker.force_open()
    talk.say(ask(headers=SDK % 0))
    breaker.reset()
    talk.wait(1)
    talk.say(ask(headers=SDK % 1))
    talk.reply(answer(MESSAGE, JSON))
    attempts, call = talk.told()
    assert [each.number for each in attempts] == [0]
    assert (call.outcome, call.attempts, call.retry_result, call.waits) == (Outcome.OK, 1, None, ())
    assert call.duration == pytest.approx(1.0, abs=0.1)
