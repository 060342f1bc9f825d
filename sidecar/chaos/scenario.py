"""What a scenario is: a timeline of phases, each with its distributions and its weighted mix of faults.

Pure data and arithmetic: time and randomness are passed in, and where the data came from is another module's matter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final, Protocol

from sidecar.chaos.faults import FaultSpec

__all__ = [
    "DISTRIBUTIONS",
    "AtEnd",
    "Bimodal",
    "Constant",
    "Distribution",
    "Exponential",
    "Limits",
    "Lognormal",
    "Mix",
    "Moment",
    "Phase",
    "Scenario",
    "Uniform",
]

_Z99: Final = 2.3263478740408408
"""The normal distribution's 99th percentile, in standard deviations."""


class Distribution(Protocol):
    """Something numbers are drawn from."""

    def sample(self, dice: Random) -> float:
        """Draw one number, at least 0."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same value."""

    value: float

    def sample(self, dice: Random) -> float:  # noqa: ARG002  # one shape for all
        """Return the value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any value between two, each as likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _ascending("low", self.low, "high", self.high)

    def sample(self, dice: Random) -> float:
        """Draw one number."""
        return dice.uniform(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Waits between independent events, by their mean."""

    mean: float

    def sample(self, dice: Random) -> float:
        """Draw one number."""
        return -self.mean * math.log(1.0 - dice.random())


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Latencies as services have them: a median and a long tail, given by its 99th percentile."""

    median: float
    p99: float

    def __post_init__(self) -> None:
        if self.median <= 0:
            raise ValueError(f"median is {self.median}: allowed is a number above 0")
        _ascending("median", self.median, "p99", self.p99)

    def sample(self, dice: Random) -> float:
        """Draw one number."""
        return self.median * math.exp(dice.gauss(0.0, 1.0) * math.log(self.p99 / self.median) / _Z99)


@dataclass(frozen=True, slots=True)
class Bimodal:
    """Mostly about ``low``, but a share of ``high_share`` about ``high``; each within a tenth."""

    low: float
    high: float
    high_share: float

    def __post_init__(self) -> None:
        _ascending("low", self.low, "high", self.high)
        if self.high_share > 1:
            raise ValueError(f"high_share is {self.high_share}: allowed is a number from 0 to 1")

    def sample(self, dice: Random) -> float:
        """Draw one number."""
        centre = self.high if dice.random() < self.high_share else self.low
        return centre * dice.uniform(0.9, 1.1)


DISTRIBUTIONS: Final[dict[str, type[Constant | Uniform | Exponential | Lognormal | Bimodal]]] = {
    "constant": Constant,
    "uniform": Uniform,
    "exponential": Exponential,
    "lognormal": Lognormal,
    "bimodal": Bimodal,
}
"""The kinds a scenario file can name; a kind's parameters are its class's fields."""


class AtEnd(StrEnum):
    """What happens when the last phase is over."""

    LOOP = "loop"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Mix:
    """Faults by weight."""

    faults: tuple[FaultSpec, ...] = (FaultSpec(),)
    weights: tuple[float, ...] = (1.0,)

    def draw(self, dice: Random) -> FaultSpec:
        """Draw one fault."""
        return dice.choices(self.faults, self.weights)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time in which the API behaves one way."""

    name: str
    duration: float
    latency: Distribution = Constant(0.0)
    """Seconds to the headers of an answer of ``/v1/messages``; other endpoints take a tenth."""
    tokens_per_second: Distribution = Constant(1e9)
    output_tokens: Distribution = Constant(40)
    prompt_tokens: Distribution | None = None
    """What an answer's usage says; without it, counted from the request."""
    tokens_per_event: int = 4
    drift: float = 1.0
    """How many times longer latency and prompts are at the phase's end than at its start, growing evenly."""
    mix: Mix = field(default_factory=Mix)
    refuse: bool = False
    """Whether connections are refused: the listening socket is closed, and idle connections are too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The rate limits the answers' headers tell of, each a minute."""

    requests: int = 4_000
    input_tokens: int = 2_000_000
    output_tokens: int = 400_000


@dataclass(frozen=True, slots=True)
class Moment:
    """Where on its timeline a scenario is."""

    index: int
    phase: Phase
    progress: float
    """How much of the phase is over, 0 to 1."""

    @property
    def factor(self) -> float:
        """What the phase's drift has come to by now."""
        return 1.0 + (self.phase.drift - 1.0) * self.progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A timeline of phases."""

    name: str
    summary: str
    phases: tuple[Phase, ...]
    at_end: AtEnd = AtEnd.LOOP
    limits: Limits = field(default_factory=Limits)
    models: Sequence[str] = ()
    """Models known beside the API's own."""
    batch_seconds: float = 1.0
    """How long a batch takes to end."""

    @property
    def duration(self) -> float:
        """Seconds from the first phase's start to the last one's end."""
        return sum(phase.duration for phase in self.phases)

    def at(self, elapsed: float) -> Moment:
        """Find the phase that is in force ``elapsed`` seconds after the start."""
        rest = elapsed % self.duration if self.at_end is AtEnd.LOOP else elapsed
        for index, phase in enumerate(self.phases):
            if rest < phase.duration:
                return Moment(index, phase, max(rest, 0.0) / phase.duration)
            rest -= phase.duration
        return Moment(len(self.phases) - 1, self.phases[-1], 1.0)


def _ascending(low_name: str, low: float, high_name: str, high: float) -> None:
    if low > high:
        raise ValueError(f"{high_name} is {high}, below {low_name} ({low}): allowed is at least {low_name}")
