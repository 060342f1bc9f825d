"""The numbers a circuit breaker is built from, and the check that they make sense."""

from dataclasses import dataclass
from typing import Final

from sidecar.policy.check import Faults

MOST_WINDOW: Final = 3600
"""Seconds: one bucket each is what bounds a breaker's memory."""
MOST_PROBES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """When a breaker opens, how long it stays open, and what it takes to close."""

    window: float = 60.0
    """Whole seconds the ratios look back."""
    min_calls: int = 10
    """Verdicts the window must hold before a ratio may open the breaker."""
    failure_ratio: float | None = 0.5
    """Share of failures that opens it; None switches the rule off (then one failed probe is enough to reopen)."""
    consecutive: int | None = 5
    """Failures in a row that open it; None switches the rule off."""
    slow_after: float | None = None
    """A verdict that took longer than this many seconds is slow; None: none is."""
    slow_ratio: float = 1.0
    """Share of slow verdicts that opens it."""
    open_for: float = 60.0
    """Seconds the first opening lasts; each reopening doubles it."""
    max_open_for: float = 300.0
    """The most it grows to."""
    open_jitter: float = 0.1
    """How much of a reopening's wait chance may take off, so that a fleet does not probe as one."""
    probes: int = 3
    """Calls let through half-open, whose verdicts decide."""
    probe_wait: float = 60.0
    """A probe without a verdict for this many seconds reopens the breaker."""

    def __post_init__(self) -> None:
        faults = Faults("circuit breaker")
        faults.whole_seconds("window", self.window, most=MOST_WINDOW)
        faults.whole("min_calls", self.min_calls, least=1, most=1_000_000)
        faults.number("failure_ratio", self.failure_ratio, above=0, most=1, optional=True)
        faults.whole("consecutive", self.consecutive, least=1, most=1_000_000, optional=True)
        faults.number("slow_after", self.slow_after, least=0, optional=True)
        faults.number("slow_ratio", self.slow_ratio, above=0, most=1)
        if faults.number("open_for", self.open_for, above=0):
            faults.number("max_open_for", self.max_open_for, least=self.open_for)
        else:
            faults.number("max_open_for", self.max_open_for, above=0)
        faults.number("open_jitter", self.open_jitter, least=0, most=1)
        faults.whole("probes", self.probes, least=1, most=MOST_PROBES)
        faults.number("probe_wait", self.probe_wait, above=0)
        faults.stop_if_any()
