"""Hang-ups: which were timeouts, from what the clients announce and how they were measured to behave."""

import pytest

from sidecar.model import CANCELLED, CLIENT_TIMEOUT
from sidecar.proxy.hangup import due_timeouts, why

PYTHON = {b"x-stainless-lang": b"python"}
JAVASCRIPT = {b"x-stainless-lang": b"js"}
CLAUDE_CODE = {b"user-agent": b"claude-cli/2.1.329 (external, cli)", b"x-stainless-lang": b"js"}

CASES = {
    "python's read timeout": ({**PYTHON, b"x-stainless-read-timeout": b"30"}, False, (30.0,)),
    "python's read timeout in a stream": ({**PYTHON, b"x-stainless-read-timeout": b"30"}, True, (30.0,)),
    "python's total": ({**PYTHON, b"x-stainless-timeout": b"600"}, False, (600.0,)),
    "read before total": ({**PYTHON, b"x-stainless-timeout": b"600", b"x-stainless-read-timeout": b"5"}, False, (5.0,)),
    "not given": ({**PYTHON, b"x-stainless-timeout": b"NOT_GIVEN"}, False, ()),
    "none": ({**PYTHON, b"x-stainless-timeout": b"None"}, False, ()),
    "a flag": ({**PYTHON, b"x-stainless-timeout": b"60", b"x-stainless-read-timeout": b"true"}, False, (60.0,)),
    "javascript before the answer": ({**JAVASCRIPT, b"x-stainless-timeout": b"600"}, False, (600.0, 301.0)),
    "javascript in a stream": ({**JAVASCRIPT, b"x-stainless-timeout": b"20"}, True, (301.0,)),
    "javascript that says nothing": (JAVASCRIPT, False, (301.0,)),
    "claude code before the answer": ({**CLAUDE_CODE, b"x-stainless-timeout": b"600"}, False, (360.0, 600.0)),
    "claude code that says nothing": (CLAUDE_CODE, False, (360.0,)),
    "claude code in a stream": ({**CLAUDE_CODE, b"x-stainless-timeout": b"600"}, True, (300.0,)),
    "nobody we know": ({b"user-agent": b"curl/8"}, False, ()),
    "nonsense": ({**PYTHON, b"x-stainless-timeout": b"soon"}, False, ()),
    "no sensible number": ({**PYTHON, b"x-stainless-timeout": b"9" * 400}, False, ()),
    "infinity": ({**PYTHON, b"x-stainless-timeout": b"inf"}, False, ()),
    "negative": ({**PYTHON, b"x-stainless-timeout": b"-1"}, False, ()),
    "not a number": ({**PYTHON, b"x-stainless-timeout": b"nan"}, False, ()),
}


@pytest.mark.parametrize(("headers", "answering", "expected"), CASES.values(), ids=CASES)
def test_clients_say_or_are_known_for_when_they_give_up(
    headers: dict[bytes, bytes], answering: bool, expected: tuple[float, ...]
) -> None:
    assert due_timeouts(headers, answering=answering) == expected


@pytest.mark.parametrize("silence", [9.96, 10.0, 10.01, 10.4])
def test_a_hang_up_at_its_moment_is_a_timeout(silence: float) -> None:
    assert why(silence, (2.0, 10.0)) is CLIENT_TIMEOUT


@pytest.mark.parametrize("silence", [0.0, 1.9, 2.6, 9.9, 10.6, 100.0])
def test_a_hang_up_at_any_other_moment_is_a_cancellation(silence: float) -> None:
    assert why(silence, (2.0, 10.0)) is CANCELLED


def test_without_a_timeout_every_hang_up_is_a_cancellation() -> None:
    assert why(600.0, ()) is CANCELLED
