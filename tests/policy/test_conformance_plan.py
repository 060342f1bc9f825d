"""Runs conformance/plan.toml; it says at its top how to read it."""

import tomllib
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sidecar.model import Outcome, Phase, Verdict
from sidecar.policy import Deadline, Ended, Planner, Policy, Send, Step, Stop, WaitFor, parse_hints

TABLES = Path(__file__).parent / "conformance"
CASES = tomllib.loads((TABLES / "plan.toml").read_text())["case"]


class Chance(Random):
    value = 0.0

    def random(self) -> float:
        return self.value


class Story:
    """A planner, a clock and one call."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.now = 0.0
        table = {**case.get("policy", {})}
        table["retry"] = {"jitter": "none", **table.get("retry", {})}
        chance = Chance()
        chance.value = case.get("chance", 0.0)
        self.planner = Planner(Policy.from_table(table), clock=self.clock, rng=chance)
        chain = case.get("chain")
        self.plan = self.planner.plan(
            "host",
            "model",
            stream=case.get("stream", False),
            deadline=None if chain is None else self.deadline(**chain),
            last=case.get("last", False),
        )

    def clock(self) -> float:
        return self.now

    def deadline(self, seconds: float, share: float = 0.5, cap: float | None = None, floor: float = 1.0) -> Deadline:
        return Deadline(at=seconds, share=share, cap=cap, floor=floor, clock=self.clock)

    def do(self, line: dict[str, Any]) -> Step | None:
        first, *words = line["do"].split()
        if first == "next":
            return self.plan.next()
        if first == "cancelled":
            return self.plan.cancelled()
        if first == "ended":
            return self.plan.ended(self.attempt(line, *words))
        assert self.planner.breakers is not None
        getattr(self.planner.breakers.get("host", "model"), first)()
        return None

    def attempt(self, line: dict[str, Any], outcome: str, how: str = "") -> Ended:
        status = int(how) if how.isdigit() else None
        return Ended(
            verdict=Verdict(Outcome(outcome), None if status or not how else Phase(how)),
            duration=line.get("took", 1.0),
            status=status,
            hints=parse_hints(line.get("headers", {})),
            delivered=line.get("delivered", False),
        )


def check(step: Step | None, line: dict[str, Any]) -> None:
    if isinstance(step, Send):
        assert step.number == line["send"]
        for name in ("total", "first_byte"):
            if name in line:
                expected = None if line[name] == "none" else pytest.approx(line[name])
                assert getattr(step.timeouts, name) == expected
    elif isinstance(step, WaitFor):
        assert step.seconds == pytest.approx(line["wait"])
        assert step.reason == line["reason"]
    elif isinstance(step, Stop):
        assert (step.because, step.outcome, step.phase) == (line["stop"], line["outcome"], line.get("phase"))
        assert (step.retry_result, step.attempts) == (line.get("result"), line["attempts"])
        refusal = None if step.refusal is None else type(step.refusal).__name__
        assert refusal == line.get("refusal")
    else:
        assert not {"send", "wait", "stop"} & line.keys()


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_planner_does_as_its_table_says(case: dict[str, Any]) -> None:
    assert (
        {"name", "covers", "steps"}
        <= case.keys()
        <= {
            *("name", "covers", "steps", "policy", "chain", "last", "stream", "chance"),
        }
    )
    columns = "at do headers delivered took send total first_byte wait reason stop outcome phase result attempts"
    columns += " refusal balance breaker"
    story = Story(case)
    for line in case["steps"]:
        assert line.keys() <= set(columns.split()), "the table has a column nobody reads"
        story.now = line["at"]
        check(story.do(line), line)
        if "balance" in line:
            assert story.planner.budget is not None
            assert story.planner.budget.balance == pytest.approx(line["balance"])
        if "breaker" in line:
            assert story.planner.breakers is not None
            assert story.planner.breakers.get("host", "model").state == line["breaker"]


def test_the_tables_together_are_large_enough_and_their_names_are_their_own() -> None:
    names = [
        case["name"]
        for table in ("plan", "retry", "waits")
        for case in tomllib.loads((TABLES / f"{table}.toml").read_text())["case"]
    ]
    assert len(names) >= 25
    assert len(set(names)) == len(names)
