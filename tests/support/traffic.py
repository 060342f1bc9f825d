"""Traffic that never happened: calls by the thousand on a simulated clock, told to a real `Telemetry`.

It makes hours of history in seconds, so that dashboards can be asked and looked at. How often what fails is a
`Weather`, which a `Scenario` gives for each moment.
"""

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from sidecar.model import (
    AttemptRecord,
    BreakerState,
    CallRecord,
    LimitKind,
    Outcome,
    Phase,
    Profile,
    RateLimit,
    RetryResult,
    Source,
    TraceRef,
    Usage,
    Wait,
)
from sidecar.telemetry import Telemetry
from sidecar.telemetry.exposition import Renderer

HOST: Final = "api.anthropic.com"
SETTINGS: Final = {
    Profile.INTERACTIVE: {Phase.CONNECT: 5.0, Phase.FIRST_BYTE: 30.0, Phase.STALL: 20.0, Phase.DEADLINE: 120.0},
    Profile.BACKGROUND: {Phase.CONNECT: 5.0, Phase.FIRST_BYTE: 120.0, Phase.STALL: 60.0, Phase.DEADLINE: 600.0},
    Profile.AGENTIC: {Phase.CONNECT: 5.0, Phase.FIRST_BYTE: 60.0, Phase.STALL: 45.0, Phase.DEADLINE: 300.0},
}
_STATUS: Final = {
    Outcome.OK: 200,
    Outcome.RATE_LIMITED: 429,
    Outcome.OVERLOADED: 529,
    Outcome.SERVER_ERROR: 500,
    Outcome.CLIENT_ERROR: 404,
    Outcome.TRUNCATED: 200,
}
_TROUBLE: Final = 0.05
"""From this share of failures on, the sidecar has troubles of its own."""
_RETRIED: Final = {Outcome.TIMEOUT, Outcome.OVERLOADED, Outcome.RATE_LIMITED, Outcome.SERVER_ERROR}


@dataclass(frozen=True, slots=True)
class Weather:
    """What an attempt has to expect at a moment: shares of faults, and how slow the rest is."""

    faults: dict[Outcome, float] = field(
        default_factory=lambda: {
            Outcome.OVERLOADED: 0.004,
            Outcome.SERVER_ERROR: 0.002,
            Outcome.CLIENT_ERROR: 0.002,
            Outcome.CANCELLED: 0.003,
            Outcome.TIMEOUT: 0.002,
        }
    )
    phases: dict[Phase, float] = field(default_factory=lambda: {Phase.FIRST_BYTE: 2, Phase.STALL: 1, Phase.GATEWAY: 1})
    slow: float = 1.0
    traffic: float = 1.0
    breaker: BreakerState = BreakerState.CLOSED


@dataclass(frozen=True, slots=True)
class Scenario:
    """The weather of each model (by its number) at each moment (in seconds before the end)."""

    weather: Callable[[int, float], Weather]


_FAIR: Final = Weather()
_SPIKE: Final = Weather(
    faults={**_FAIR.faults, Outcome.TIMEOUT: 0.3, Outcome.OVERLOADED: 0.06, Outcome.TRUNCATED: 0.02},
    phases={Phase.FIRST_BYTE: 7, Phase.STALL: 3, Phase.CONNECT: 0.4, Phase.DEADLINE: 0.6, Phase.GATEWAY: 0.5},
    slow=1.8,
)
_ROUGH: Final = Weather(
    faults={**_FAIR.faults, Outcome.CONNECTION_ERROR: 0.01, Outcome.RATE_LIMITED: 0.03, Outcome.TIMEOUT: 0.02},
    phases=dict.fromkeys(Phase, 1.0),
)


def _spike(model: int, left: float) -> Weather:
    """Give a rough patch, and at the end half an hour in which the first model times out."""
    if 2 * 3600 < left < 2 * 3600 + 900:
        return _ROUGH
    if model == 0 and left < 1500:
        cycle = left % 420
        state = BreakerState.OPEN if cycle > 240 else BreakerState.HALF_OPEN if cycle > 200 else BreakerState.CLOSED
        return Weather(faults=_SPIKE.faults, phases=_SPIKE.phases, slow=_SPIKE.slow, breaker=state)
    return Weather(slow=1.25) if left < 1500 else _FAIR


SCENARIOS: Final = {
    "calm": Scenario(lambda _model, _left: _FAIR),
    "timeout-spike": Scenario(_spike),
    "everything": Scenario(lambda model, left: _spike(0, left % 3600) if model % 3 == 0 else _ROUGH),
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who calls: so many calls a second, of these models, with these profiles."""

    models: Sequence[str] = ("claude-opus-5", "claude-sonnet-5", "claude-haiku-5")
    profiles: Sequence[Profile] = (Profile.INTERACTIVE, Profile.BACKGROUND, Profile.AGENTIC)
    calls_per_second: float = 6.0
    traced: bool = False
    invented: float = 0.0
    """The share of calls that name a model nobody has, and fail."""
    label_limit: int = 50


class Traffic:
    """A simulated service and its telemetry."""

    def __init__(self, scenario: Scenario, fleet: Fleet, *, start: float, end: float, seed: int = 1) -> None:
        self.now = start
        self._end: Final = end
        self._scenario: Final = scenario
        self._fleet: Final = fleet
        self._random: Final = random.Random(seed)
        self.telemetry: Final = Telemetry(label_limit=fleet.label_limit, clock=lambda: self.now, wall=lambda: self.now)
        self._ticks = 0
        self._due: Final[list[tuple[float, int, Callable[[], None]]]] = []
        self._order: Final = count()
        self._weights: Final = [1 / (rank + 1) for rank in range(len(fleet.models))]
        self._states: Final = dict.fromkeys(fleet.models, BreakerState.CLOSED)
        self._breakers: Final = {model: self.telemetry.breaker(f"{HOST}/{model}") for model in fleet.models}
        for breaker in self._breakers.values():
            breaker.state(BreakerState.CLOSED)
            breaker.failure_ratio(0.0)
        for profile in fleet.profiles:
            self.telemetry.timeouts(profile, SETTINGS[profile])
        self._renderer: Final = Renderer()
        self._at(start, self._arrive)
        self._at(start, self._tick)

    def pages(self, every: float) -> Iterator[tuple[float, str]]:
        """Let time pass, and yield what each scrape would read, with its moment."""
        moment = self.now + every
        while moment <= self._end:
            while self._due and self._due[0][0] <= moment:
                self.now, _, event = heapq.heappop(self._due)
                event()
            self.now = moment
            yield moment, self._renderer.render(self.telemetry.collect()).decode()
            moment += every

    def _at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._order), event))

    def _weather(self, model: int) -> Weather:
        return self._scenario.weather(model, self._end - self.now)

    def _tick(self) -> None:
        """Once in a while, what no call tells: breakers, the retry budget, the event loop."""
        worst = 0.0
        for number, model in enumerate(self._fleet.models):
            weather, before = self._weather(number), self._states[model]
            failing = sum(share for outcome, share in weather.faults.items() if outcome in _RETRIED)
            worst = max(worst, failing)
            self._breakers[model].failure_ratio(min(1.0, failing * self._random.uniform(0.8, 1.2)))
            if weather.breaker is not before:
                self._breakers[model].transition(before, weather.breaker)
                self._states[model] = weather.breaker
        self.telemetry.retry_budget(HOST, max(0.0, 1 - worst * 2.5))
        self.telemetry.event_loop_lag(abs(self._random.gauss(0.002, 0.002)))
        self._ticks += 1
        if self._ticks % 60 == 0 and worst > _TROUBLE:
            self.telemetry.dropped("queue_full", 3)
            self.telemetry.internal_error("otlp", OSError())
        self._at(self.now + 5, self._tick)

    def _arrive(self) -> None:
        number = self._random.choices(range(len(self._weights)), self._weights)[0]
        weather = self._weather(number)
        self._at(self.now + self._random.expovariate(self._fleet.calls_per_second * weather.traffic), self._arrive)
        _Call(self, number, weather).begin()

    # For the calls.

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Do something later."""
        self._at(self.now + seconds, event)

    @property
    def fleet(self) -> Fleet:
        """Who calls."""
        return self._fleet

    @property
    def dice(self) -> random.Random:
        """The one source of chance."""
        return self._random


class _Call:
    """One call, from its first attempt to its record."""

    def __init__(self, traffic: Traffic, number: int, weather: Weather) -> None:
        dice, fleet = traffic.dice, traffic.fleet
        self._traffic: Final = traffic
        lost = dice.random() < fleet.invented
        self._model: Final = f"invented-{dice.getrandbits(32):x}" if lost else fleet.models[number]
        if lost:
            weather = replace(weather, faults={Outcome.CLIENT_ERROR: 1.0}, breaker=BreakerState.CLOSED)
        self._weather: Final = weather
        self._profile: Final = fleet.profiles[number % len(fleet.profiles)]
        self._stream: Final = self._profile is not Profile.BACKGROUND
        self._source: Final = Source.CLIENT
        self._started: Final = traffic.now
        self._prompt: Final = int(dice.lognormvariate(8.2, 1.0)) + 1
        self._output: Final = int(dice.lognormvariate(5.6, 0.8)) + 1
        self._waits: list[Wait] = []
        self._attempts = 0
        self._ticket = traffic.telemetry.in_flight.begin(
            "messages", self._model, profile=self._profile, stream=self._stream
        )
        self._trace: Final = (
            TraceRef(trace_id=f"{dice.getrandbits(128):032x}", span_id=f"{dice.getrandbits(64):016x}")
            if fleet.traced
            else None
        )

    def begin(self) -> None:
        """Send it, unless the breaker is open."""
        if self._weather.breaker is BreakerState.OPEN:
            self._traffic.telemetry.breaker(f"{HOST}/{self._model}").rejected()
            self._end(Outcome.REJECTED, None, 0.0)
        else:
            self._attempt()

    def _attempt(self) -> None:
        dice, weather = self._traffic.dice, self._weather
        self._ticket.waiting()
        kinds = list(weather.faults)
        shares = [weather.faults[kind] for kind in kinds]
        outcome = dice.choices([Outcome.OK, *kinds], [max(0.0, 1 - sum(shares)), *shares])[0]
        waited_for = dice.choices(list(weather.phases), list(weather.phases.values()))[0]
        phase = waited_for if outcome is Outcome.TIMEOUT else None
        first = dice.lognormvariate(-0.3, 0.45) * weather.slow
        took = first + self._output / dice.uniform(50, 90)
        if phase is not None:
            took = SETTINGS[self._profile].get(phase, 60.0) + dice.random() * 0.05
        elif outcome not in {Outcome.OK, Outcome.CANCELLED, Outcome.TRUNCATED}:
            took = dice.uniform(0.1, 0.8)
        self._traffic.after(took, lambda: self._attempted(outcome, phase, took, first))

    def _attempted(self, outcome: Outcome, phase: Phase | None, took: float, first: float) -> None:
        dice, now = self._traffic.dice, self._traffic.now
        streamed = self._stream and (outcome in {Outcome.OK, Outcome.TRUNCATED} or phase is Phase.STALL)
        remaining = 900_000 - int(400_000 * dice.random() * self._weather.slow)
        self._traffic.telemetry.attempt(
            AttemptRecord(
                source=self._source,
                endpoint="messages",
                model=self._model,
                profile=self._profile,
                stream=self._stream,
                number=self._attempts,
                started_at=now - took,
                duration=took,
                outcome=outcome,
                phase=phase,
                status=504 if phase is Phase.GATEWAY else _STATUS.get(outcome),
                host=HOST,
                first_byte=first * 0.8 if outcome is Outcome.OK else None,
                max_gap=(took if phase is Phase.STALL else dice.lognormvariate(-1.5, 0.7)) if streamed else None,
                limits=(
                    RateLimit(kind=LimitKind.REQUESTS, limit=4000, remaining=3600, reset_at=now + 3),
                    RateLimit(
                        kind=LimitKind.INPUT_TOKENS, limit=1_000_000, remaining=max(0, remaining), reset_at=now + 24
                    ),
                    RateLimit(kind=LimitKind.OUTPUT_TOKENS, limit=200_000, remaining=170_000, reset_at=now + 9),
                )
                if outcome in {Outcome.OK, Outcome.RATE_LIMITED}
                else (),
                trace=self._trace,
            )
        )
        self._attempts += 1
        final = outcome not in _RETRIED or phase in {Phase.STALL, Phase.DEADLINE} or self._attempts > 2
        if final:
            self._end(outcome, phase, first)
            return
        pause = min(8.0, 0.5 * 2**self._attempts) * dice.random()
        self._waits.append(Wait(reason=outcome, at=now - self._started, seconds=pause))
        self._ticket.idle()
        self._traffic.after(pause, self._attempt)

    def _end(self, outcome: Outcome, phase: Phase | None, first: float) -> None:
        traffic, ok = self._traffic, outcome is Outcome.OK
        self._ticket.end()
        duration = traffic.now - self._started
        output_seconds = self._output / traffic.dice.uniform(50, 90)
        cached = int(self._prompt * 0.7) if traffic.dice.random() < 0.8 else 0
        result = None
        if self._waits:
            result = RetryResult.RECOVERED if ok else RetryResult.EXHAUSTED
        traffic.telemetry.call(
            CallRecord(
                source=self._source,
                endpoint="messages",
                model=self._model,
                profile=self._profile,
                stream=self._stream,
                started_at=self._started,
                duration=duration,
                outcome=outcome,
                phase=phase,
                attempts=self._attempts,
                waits=tuple(self._waits),
                retry_result=result,
                host=HOST,
                first_token=max(first, duration - output_seconds) if ok and self._stream else None,
                output_seconds=output_seconds if ok and self._stream else None,
                usage=Usage(
                    input=self._prompt - cached, output=self._output, cache_read=cached, cache_write=self._prompt // 20
                )
                if ok
                else None,
                stop_reason=traffic.dice.choices(["end_turn", "tool_use", "max_tokens"], [8, 3, 0.3])[0]
                if ok
                else None,
                trace=self._trace,
            )
        )
