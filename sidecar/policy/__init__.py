"""Policies: when to wait, retry, stop and break off. Pure: no I/O, no wall clock; time and chance are passed in."""

from sidecar.policy.breaker import BreakerOpen, BreakerSnapshot, CircuitBreaker, Permit
from sidecar.policy.breaker_config import BreakerConfig
from sidecar.policy.breaker_cycle import Counts, Reason
from sidecar.policy.breaker_registry import BreakerRegistry
from sidecar.policy.budget import BudgetConfig, RetryBudget
from sidecar.policy.check import SettingsError
from sidecar.policy.config import Policy, policies
from sidecar.policy.deadlines import Deadline, DeadlineExceeded, DeadlineScope, current_deadline, deadline
from sidecar.policy.hints import NO_HINTS, Hints, parse_hints
from sidecar.policy.plan import Because, CallPlan, Planner, Send, Step, Stop, WaitFor
from sidecar.policy.retry import Ended, Retry, retryable
from sidecar.policy.timeouts import PROFILES, Advice, Timeouts

__all__ = [
    "NO_HINTS",
    "PROFILES",
    "Advice",
    "Because",
    "BreakerConfig",
    "BreakerOpen",
    "BreakerRegistry",
    "BreakerSnapshot",
    "BudgetConfig",
    "CallPlan",
    "CircuitBreaker",
    "Counts",
    "Deadline",
    "DeadlineExceeded",
    "DeadlineScope",
    "Ended",
    "Hints",
    "Permit",
    "Planner",
    "Policy",
    "Reason",
    "Retry",
    "RetryBudget",
    "Send",
    "SettingsError",
    "Step",
    "Stop",
    "Timeouts",
    "WaitFor",
    "current_deadline",
    "deadline",
    "parse_hints",
    "policies",
    "retryable",
]
