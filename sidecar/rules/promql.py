"""The few shapes of expression the rules are made of, and the label sets they keep.

Every rule keeps cluster, namespace and job, so that it means the same in one Prometheus, federated, and under Thanos
or Mimir; ``source`` stays apart, because one call may be seen by the client and by the proxy.
"""

import math
from typing import Final

from sidecar.model import AVAILABILITY_FAILURES, NEVER_COUNTED, Outcome

PROCESS: Final = ("cluster", "namespace", "job")
JOB: Final = (*PROCESS, "source")
MODEL: Final = (*JOB, "model")
ENDPOINT: Final = (*JOB, "endpoint", "model")
USE: Final = (*JOB, "profile")
SERIES: Final = (*JOB, "endpoint", "model", "profile")
"""What the recorded percentiles and ratios keep."""

FAILURES: Final = "|".join(outcome for outcome in Outcome if outcome in AVAILABILITY_FAILURES)
UNCOUNTED: Final = "|".join(outcome for outcome in Outcome if outcome in NEVER_COUNTED)
UNMEASURED: Final = f"{UNCOUNTED}|{Outcome.REJECTED}"
"""Outcomes whose duration says nothing of how long an answer takes."""


def by(level: tuple[str, ...], inner: str, operator: str = "sum") -> str:
    """Aggregate over everything but the labels of ``level``."""
    return f"{operator} by ({', '.join(level)}) ({inner})"


def series(metric: str, matchers: str = "", window: str = "") -> str:
    """Select series, over a window when one is given."""
    return metric + (f"{{{matchers}}}" if matchers else "") + (f"[{window}]" if window else "")


def rate(level: tuple[str, ...], metric: str, window: str, matchers: str = "") -> str:
    """Events per second: summed over rates, so that a counter's reset is seen before it is added up."""
    return by(level, f"rate({series(metric, matchers, window)})")


def count(level: tuple[str, ...], metric: str, window: str, matchers: str = "") -> str:
    """Events in the window, reset-safe like `rate`."""
    return by(level, f"increase({series(metric, matchers, window)})")


def ratio(part: str, whole: str) -> str:
    """Divide, without a result where there is nothing to divide by: no NaN ever enters a recorded series."""
    return f"{part}\n/\n({whole} > 0)"


def more_than(events: str, threshold: str) -> str:
    """Keep numbers of events above a threshold; `increase` reads 8 of them as 8.07, and 8 are not more than 8."""
    return f"{events} >= {math.floor(float(threshold))}.5"


def nested(expr: str) -> str:
    """Put an expression of several lines in parentheses, indented, so that a person can read the whole."""
    return "(\n" + "".join(f"  {line}\n" for line in expr.splitlines()) + ")"


def share(part: str, whole: str) -> str:
    """Like `ratio`, but 0 where the whole exists and the part has no series yet."""
    return ratio(f"({part} or {whole} * 0)", whole)
