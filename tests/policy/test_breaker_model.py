"""The breaker beside a slow, obvious model of it: whatever happens in whatever order, the two agree."""

import gc
from collections.abc import Callable
from math import floor
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from sidecar.policy import BreakerOpen, CircuitBreaker, Permit

FAILURES = ["timeout", "overloaded", "server_error", "connection_error", "truncated"]
IGNORED = ["client_error", "cancelled", "rejected", "ignore"]
OUTCOMES = ["ok", "ok", "rate_limited", *FAILURES, *IGNORED]


class Model:
    """Remembers everything and counts it all again whenever it is asked."""

    def __init__(self, settings: dict[str, Any], now: Callable[[], float]) -> None:
        self.settings = settings
        self.now = now
        self.override: str | None = None
        self.rejected = self.would_have_rejected = 0
        self.events: list[tuple[str, str]] = []
        self.generation = 0
        self.close()

    def close(self) -> None:
        self.phase, self.openings = "closed", 0
        self.verdicts: list[tuple[float, str, bool]] = []  # in this phase: when, outcome, slow
        self.outstanding: dict[int, float] = {}
        self.generation += 1

    def open(self, at: float) -> None:
        self.kept = self.counts()
        self.openings += 1
        wait = min(self.settings["open_for"] * 2 ** (self.openings - 1), self.settings["max_open_for"])
        self.phase, self.until = "open", at + wait
        self.generation += 1

    def state(self) -> str:
        return self.override or self.phase

    def tick(self) -> None:
        while True:
            overdue = min(self.outstanding.values(), default=10**9) + self.settings["probe_wait"]
            if self.phase == "open" and self.now() >= self.until:
                self.phase, self.verdicts, self.outstanding = "half_open", [], {}
                self.generation += 1
                self.events.append(("open", "half_open"))
            elif self.phase == "half_open" and self.now() >= overdue:
                self.open(overdue)
                self.events.append(("half_open", "open"))
            else:
                return

    def acquire(self, name: int) -> int | str | None:
        """Admit a call: its generation, None when nobody will hear its verdict, or "rejected"."""
        self.tick()
        if self.override == "disabled":
            return None
        if self.override == "forced_open":
            self.rejected += 1
            return "rejected"
        if self.phase == "closed":
            return self.generation
        if self.phase == "half_open" and len(self.outstanding) + len(self.verdicts) < self.settings["probes"]:
            self.outstanding[name] = self.now()
            return self.generation
        if self.override == "observe_only":
            self.would_have_rejected += 1
            return None
        self.rejected += 1
        return "rejected"

    def end(self, name: int, generation: int | None, outcome: str, duration: float) -> None:
        self.tick()
        if generation != self.generation:
            return
        self.outstanding.pop(name, None)
        if outcome in IGNORED:
            return
        slow = self.settings["slow_after"] is not None and duration > self.settings["slow_after"]
        self.verdicts.append((self.now(), outcome, slow))
        if self.phase == "closed":
            if self.must_open(outcome, slow=slow):
                self.open(self.now())
                self.events.append(("closed", "open"))
        else:
            self.decide()

    def must_open(self, outcome: str, *, slow: bool) -> bool:
        streak = 0
        for _, past, _ in reversed(self.verdicts):
            if past == "ok":
                break
            streak += past != "rate_limited"
        failed = outcome != "ok"
        if failed and self.settings["consecutive"] is not None and streak >= self.settings["consecutive"]:
            return True
        calls, failures, slow_calls = self.counts()
        if calls < self.settings["min_calls"]:
            return False
        ratio = self.settings["failure_ratio"]
        if failed and ratio is not None and failures / calls >= ratio:
            return True
        return (failed or slow) and slow_calls / calls >= self.settings["slow_ratio"]

    def decide(self) -> None:
        probes = self.settings["probes"]
        calls, failures, slow = self.counts()
        ratio = self.settings["failure_ratio"]
        too_many = failures > 0 if ratio is None else failures / probes >= ratio
        if too_many or slow / probes >= self.settings["slow_ratio"]:
            self.open(self.now())
            self.events.append(("half_open", "open"))
        elif calls == probes:
            self.close()
            self.events.append(("half_open", "closed"))

    def counts(self) -> tuple[int, int, int]:
        seen = self.verdicts
        if self.phase == "open":
            return self.kept
        if self.phase == "closed":
            seen = [one for one in seen if floor(self.now()) - floor(one[0]) < self.settings["window"]]
        return len(seen), sum(one[1] != "ok" for one in seen), sum(one[2] for one in seen)

    def put(self, state: str) -> None:
        self.tick()
        before = self.state()
        if before == state:
            return
        self.override = None if state == "closed" else state
        self.close()
        self.events.append((before, state))


class BreakerBesideItsModel(RuleBasedStateMachine):
    calls = Bundle("calls")

    @initialize(
        settings=st.fixed_dictionaries(
            {
                "window": st.integers(1, 6),
                "min_calls": st.integers(1, 5),
                "failure_ratio": st.sampled_from([None, 0.3, 0.5, 1.0]),
                "consecutive": st.sampled_from([None, 1, 3]),
                "slow_after": st.sampled_from([None, 1.0]),
                "slow_ratio": st.sampled_from([0.5, 1.0]),
                "open_for": st.sampled_from([1.0, 3.0]),
                "max_open_for": st.sampled_from([3.0, 10.0]),
                "probes": st.integers(1, 4),
                "probe_wait": st.sampled_from([1.0, 4.0]),
            }
        )
    )
    def begin(self, settings: dict[str, Any]) -> None:
        self.time = 0.0
        self.names = 0
        self.events: list[tuple[str, str]] = []
        self.model = Model(settings, lambda: self.time)
        self.breaker = CircuitBreaker("x", **settings, open_jitter=0.0, clock=lambda: self.time, rng=Random(0))
        self.breaker.on_transition(lambda before, after, _why: self.events.append((before, after)))

    @rule(target=calls, times=st.integers(1, 4))
    def acquire(self, times: int) -> Any:
        made = []
        for _ in range(times):
            self.names += 1
            expected = self.model.acquire(self.names)
            try:
                permit = self.breaker.acquire()
            except BreakerOpen as refusal:
                assert expected == "rejected"
                self.check_retry_after(refusal)
            else:
                assert expected != "rejected"
                made.append([self.names, expected, permit])
        return multiple(*made)

    def check_retry_after(self, refusal: BreakerOpen) -> None:
        model = self.model
        if model.override == "forced_open":
            assert refusal.retry_after is None
        elif model.phase == "open":
            assert refusal.retry_after == model.until - self.time
        else:
            assert refusal.retry_after == min(model.outstanding.values()) + model.settings["probe_wait"] - self.time

    @rule(call=calls, outcome=st.sampled_from(OUTCOMES), duration=st.sampled_from([0.5, 1.0, 1.5]))
    def end(self, call: list[Any], outcome: str, duration: float) -> None:
        self.end_one(call, outcome, duration)

    @rule(outcome=st.sampled_from(["ok", "timeout", "rate_limited"]), duration=st.sampled_from([0.5, 1.5]))
    def call_at_once(self, outcome: str, duration: float) -> None:
        for call in getattr(self.acquire(times=1), "values", ()):
            self.end_one(call, outcome, duration)

    def end_one(self, call: list[Any], outcome: str, duration: float) -> None:
        name, generation, permit = call
        if permit is None:
            return
        self.model.end(name, generation, outcome, duration)
        call[1] = None  # only the first verdict counts
        if outcome == "ok":
            permit.success(duration)
        elif outcome == "ignore":
            permit.ignore()
        else:
            permit.failure(outcome, duration)

    @rule(call=consumes(calls))
    def drop(self, call: list[Any]) -> None:
        if call[2] is None:
            return
        self.model.end(call[0], call[1], "ignore", 0.0)
        permit: Permit | None = call[2]
        call[2] = None
        del permit
        gc.collect(0)

    @rule(seconds=st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.0, 3.0, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.time += seconds

    @rule(state=st.sampled_from(["forced_open", "disabled", "observe_only", "closed", "closed", "closed"]))
    def step_in(self, state: str) -> None:
        self.model.put(state)
        {
            "forced_open": self.breaker.force_open,
            "disabled": self.breaker.disable,
            "observe_only": self.breaker.observe_only,
            "closed": self.breaker.reset,
        }[state]()

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        self.model.tick()
        snapshot = self.breaker.snapshot()
        assert snapshot.state == self.model.state()
        if self.model.override != "disabled":
            counts = snapshot.counts
            assert (counts.calls, counts.failures, counts.slow) == self.model.counts()
        assert snapshot.rejected == self.model.rejected
        assert snapshot.would_have_rejected == self.model.would_have_rejected
        assert self.events == self.model.events


TestBreakerBesideItsModel = BreakerBesideItsModel.TestCase
TestBreakerBesideItsModel.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
