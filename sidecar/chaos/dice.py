"""What chance decides of a request: drawn from the seed and the request's number, never from time or concurrency.

The same seed therefore gives the same sequence by request order. Pure.
"""

from dataclasses import dataclass
from random import Random

from sidecar.chaos.faults import FaultSpec
from sidecar.chaos.scenario import Moment

__all__ = ["Plan", "draw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one request is going to be answered."""

    fault: FaultSpec
    latency: float
    output_tokens: int
    tokens_per_second: float
    tokens_per_event: int
    prompt_tokens: int | None
    """What the usage says; None to count the request's own."""

    def delay(self, share: float) -> float:
        """Seconds until the headers of an answer that takes this share of the latency; an override is exact."""
        return self.latency if self.fault.latency is not None else self.latency * share

    @property
    def event_seconds(self) -> float:
        """Seconds from one content event to the next."""
        return self.tokens_per_event / self.tokens_per_second


def draw(seed: int, number: int, moment: Moment, forced: FaultSpec | None) -> Plan:
    """Draw the plan of request ``number``; a forced fault takes the drawn one's place and leaves the rest as it was."""
    dice = Random(f"{seed}:{number}")
    phase = moment.phase
    drawn = phase.mix.draw(dice)
    latency = phase.latency.sample(dice) * moment.factor
    tokens = phase.output_tokens.sample(dice)
    speed = phase.tokens_per_second.sample(dice)
    prompt = None if phase.prompt_tokens is None else phase.prompt_tokens.sample(dice) * moment.factor
    fault = forced or drawn
    return Plan(
        fault=fault,
        latency=latency if fault.latency is None else fault.latency,
        output_tokens=fault.tokens or max(1, round(tokens)),
        tokens_per_second=fault.tokens_per_second or max(speed, 0.001),
        tokens_per_event=phase.tokens_per_event,
        prompt_tokens=fault.input_tokens or (None if prompt is None else max(1, round(prompt))),
    )
