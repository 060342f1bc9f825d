"""Hang-ups: which were timeouts, from what the clients announce and how they were measured to behave."""

import pytest

from sidecar.model import CANCELLED, CLIENT_TIMEOUT, Verdict
from sidecar.proxy.hangup import due_timeouts, why

PYTHON = {b"x-stainless-lang": b"python"}
JAVASCRIPT = {b"x-stainless-lang": b"js"}
CLAUDE_CODE = {b"user-agent": b"claude-cli/2.1.329 (external, cli)", b"x-stainless-lang": b"js"}

CASES: dict[str, tuple[dict[bytes, bytes], bool, tuple[float, ...]]] = {
    "python's read timeout": ({**PYTHON, b"x-stainless-read-timeout": b"30"}, False, (30.0,)),
    "python's read timeout in a stream": ({**PYTHON, b"x-stainless-read-timeout": b"30"}, True, (30.0,)),
    "python's total": ({**PYTHON, b"x-stainless-timeout": b"600"}, False, (600.0,)),
    "read before total": ({**PYTHON, b"x-stainless-timeout": b"600", b"x-stainless-read-timeout": b"5"}, False, (5.0,)),
    "not given": ({**PYTHON, b"x-stainless-timeout": b"NOT_GIVEN"}, False, ()),
    "none": ({**PYTHON, b"x-stainless-timeout": b"None"}, False, ()),
    "a flag": ({**PYTHON, b"x-stainless-timeout": b"60", b"x-stainless-read-timeout": b"true"}, False, (60.0,)),
    "javascript before the answer": ({**JAVASCRIPT, b"x-stainless-timeout": b"600"}, False, (300.5, 600.0)),
    "javascript in a stream": ({**JAVASCRIPT, b"x-stainless-timeout": b"20"}, True, (300.5,)),
    "javascript that says nothing": (JAVASCRIPT, False, (300.5,)),
    "claude code before the answer": ({**CLAUDE_CODE, b"x-stainless-timeout": b"600"}, False, (360.0, 600.0)),
    "claude code that says nothing": (CLAUDE_CODE, False, (360.0,)),
    "claude code in a stream": ({**CLAUDE_CODE, b"x-stainless-timeout": b"600"}, True, (300.5,)),
    "nobody we know": ({b"user-agent": b"curl/8"}, False, ()),
    "nonsense": ({**PYTHON, b"x-stainless-timeout": b"soon"}, False, ()),
    "no sensible number": ({**PYTHON, b"x-stainless-timeout": b"9" * 400}, False, ()),
    "infinity": ({**PYTHON, b"x-stainless-timeout": b"inf"}, False, ()),
    "negative": ({**PYTHON, b"x-stainless-timeout": b"-1"}, False, ()),
    "not a number": ({**PYTHON, b"x-stainless-timeout": b"nan"}, False, ()),
}


MOMENTS = (0.0, 1.0, 5.0, 20.0, 30.0, 60.0, 300.5, 360.0, 600.0, 1000.0)


@pytest.mark.parametrize(("headers", "answering", "expected"), CASES.values(), ids=CASES)
def test_clients_say_or_are_known_for_when_they_give_up(
    headers: dict[bytes, bytes], answering: bool, expected: tuple[float, ...]
) -> None:
    due = due_timeouts(headers, answering=answering)
    found = [moment for moment in MOMENTS if why(due, silence=moment, elapsed=moment) is CLIENT_TIMEOUT]
    assert found == sorted(expected)


def judged(headers: dict[bytes, bytes], silence: float, *, before: float = 0.0, answering: bool = False) -> Verdict:
    """Judge a hang-up after this silence, which began so long after the request did."""
    return why(due_timeouts(headers, answering=answering), silence=silence, elapsed=before + silence)


TEN = {**PYTHON, b"x-stainless-read-timeout": b"10"}
NODE_TEN = {**JAVASCRIPT, b"x-stainless-timeout": b"10"}


@pytest.mark.parametrize("silence", [9.96, 10.0, 10.01, 10.4])
def test_a_hang_up_at_its_moment_is_a_timeout(silence: float) -> None:
    assert judged(TEN, silence) is CLIENT_TIMEOUT
    assert judged(TEN, silence, before=300.0, answering=True) is CLIENT_TIMEOUT


@pytest.mark.parametrize("silence", [0.0, 1.9, 2.6, 9.9, 10.6, 100.0])
def test_a_hang_up_at_any_other_moment_is_a_cancellation(silence: float) -> None:
    assert judged(TEN, silence) is CANCELLED
    assert judged(TEN, silence, before=10.0 - silence) is CANCELLED  # its timeout is not for all of the request


@pytest.mark.parametrize("silence", [9.6, 9.96, 10.0, 10.5, 10.99, 11.4])
def test_a_busy_nodes_timeout_is_one_though_its_request_came_late_or_its_setting_was_cut_to_seconds(
    silence: float,
) -> None:
    assert judged(NODE_TEN, silence) is CLIENT_TIMEOUT


@pytest.mark.parametrize("silence", [0.0, 9.4, 11.6, 100.0])
def test_a_node_that_hangs_up_at_any_other_moment_cancels(silence: float) -> None:
    assert judged(NODE_TEN, silence) is CANCELLED


def test_a_nodes_timer_runs_while_the_request_is_sent() -> None:
    assert judged(NODE_TEN, 7.0, before=3.0) is CLIENT_TIMEOUT
    assert judged(NODE_TEN, 10.0, before=3.0) is CANCELLED
    assert judged(NODE_TEN, 10.0, answering=True) is CANCELLED  # it ends with the answer's head


def test_of_a_short_timeout_most_is_a_cancellation() -> None:
    one = {**JAVASCRIPT, b"x-stainless-timeout": b"1"}
    assert judged(one, 0.8) is CLIENT_TIMEOUT
    assert judged(one, 0.7) is CANCELLED


def test_without_a_timeout_every_hang_up_is_a_cancellation() -> None:
    assert judged({}, 600.0) is CANCELLED
