"""Runs conformance/breaker.toml; its README says how to read it."""

import gc
import tomllib
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sidecar.policy import BreakerOpen, CircuitBreaker, Permit

CASES = tomllib.loads((Path(__file__).parent / "conformance/breaker.toml").read_text())["case"]
OPERATOR = {"force_open", "disable", "observe_only", "reset"}
EXPECTATIONS = {"state", "why", "rejected", "retry_after", "counts", "would_have_rejected"}


class Chance(Random):
    value = 0.0

    def random(self) -> float:
        return self.value


class Story:
    """A breaker, a clock, and the calls under way."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.now = 0.0
        self.reasons: list[str] = []
        self.calls: dict[str, Permit] = {}
        chance = Chance()
        chance.value = case.get("chance", 0.0)
        settings = {"open_jitter": 0.0, **case.get("breaker", {})}
        settings = {name: None if value == "off" else value for name, value in settings.items()}
        self.now = case["events"][0]["at"]
        self.breaker = CircuitBreaker("story", clock=lambda: self.now, rng=chance, **settings)
        self.breaker.on_transition(lambda _before, _after, reason: self.reasons.append(reason))

    def do(self, line: str) -> None:
        words = line.split()
        times = int(words.pop()[1:]) if words[-1].startswith("x") else 1
        for _ in range(times):
            self.do_once(*words)

    def do_once(self, first: str, second: str = "", duration: str = "0.1") -> None:
        if first == "look":
            _ = self.breaker.state
        elif first in OPERATOR:
            getattr(self.breaker, first)()
        elif first == "call":
            self.calls[second] = self.breaker.acquire()
        elif first not in self.calls:
            self.end(self.breaker.acquire(), first, second or duration)
        elif second == "ignore":
            self.calls[first].ignore()
        elif second == "drop":
            del self.calls[first]
            gc.collect()
        else:
            self.end(self.calls[first], second, duration)

    @staticmethod
    def end(permit: Permit, outcome: str, duration: str) -> None:
        if outcome == "ok":
            permit.success(float(duration))
        else:
            permit.failure(outcome, float(duration))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_breaker_does_as_its_table_says(case: dict[str, Any]) -> None:
    assert case["covers"]
    story = Story(case)
    state = "closed"
    for event in case["events"]:
        assert event.keys() <= {"at", "do"} | EXPECTATIONS, "the table has a column nobody reads"
        story.now = event["at"]
        refusal = None
        try:
            story.do(event["do"])
        except BreakerOpen as raised:
            refusal = raised
        where = f"at {event['at']}: {event['do']}"
        assert (refusal is not None) == event.get("rejected", False), where
        if refusal is not None:
            assert refusal.retry_after == pytest.approx(event.get("retry_after"), abs=1e-9), where
        why = event.get("why", [])
        assert story.reasons == ([why] if isinstance(why, str) else why), where
        story.reasons.clear()
        state = event.get("state", state)
        snapshot = story.breaker.snapshot()
        assert snapshot.state == state, where
        if refusal is not None:
            assert refusal.state == state, where
        if "counts" in event:
            counts = [snapshot.counts.calls, snapshot.counts.failures, snapshot.counts.slow]
            assert counts == event["counts"], where
        if "would_have_rejected" in event:
            assert snapshot.would_have_rejected == event["would_have_rejected"], where
        assert story.reasons == [], f"{where}: looking at it changed it"


def test_the_table_is_large_enough_and_its_names_are_its_own() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) >= 60
    assert len(set(names)) == len(names)
