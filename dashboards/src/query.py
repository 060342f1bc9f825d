"""PromQL as the panels write it: which labels are filtered at which level, and the few shapes of expression.

Recorded series come first: they read the same from native and from classic histograms, and they are cheap. Where a
distribution itself is shown, both kinds are asked, and the one that is stored answers.
"""

from collections.abc import Iterable
from typing import Final

PROCESS: Final = ("cluster", "namespace", "job")
INSTANCE: Final = (*PROCESS, "instance")
JOB: Final = (*PROCESS, "source")
MODEL: Final = (*JOB, "model")
ENDPOINT: Final = (*JOB, "endpoint", "model")
USE: Final = (*JOB, "profile")
SERIES: Final = (*JOB, "endpoint", "model", "profile")

RATE: Final = "$__rate_interval"
RANGE: Final = "$__range"
TOP: Final = 6
"""How many lines a graph shows of something there may be many of."""


def select(metric: str, level: Iterable[str], *matchers: str, window: str = "") -> str:
    """Select a metric's series by the dashboard's variables, and by matchers of the panel's own."""
    parts = [f'{label}=~"${label}"' for label in level] + list(matchers)
    return f"{metric}{{{', '.join(parts)}}}" + (f"[{window}]" if window else "")


def aggregate(operator: str, inner: str, by: str = "") -> str:
    """Aggregate, keeping the labels in ``by``."""
    return f"{operator} by ({by}) ({inner})" if by else f"{operator} ({inner})"


def total(metric: str, level: Iterable[str], *matchers: str, by: str = "") -> str:
    """Add up series."""
    return aggregate("sum", select(metric, level, *matchers), by)


def worst(metric: str, level: Iterable[str], *matchers: str, by: str = "") -> str:
    """Take the highest: of percentiles, which cannot be added up, the slowest group's."""
    return aggregate("max", select(metric, level, *matchers), by)


def worst_busy(metric: str) -> str:
    """Take the slowest of the combinations of endpoint, model and profile that make up at least 1 % of the calls.

    A percentile of three calls an hour is noise that would hide all others.
    """
    calls = select("claude:calls:rate_5m", SERIES)
    return f"max ({select(metric, SERIES)} and {calls} > 0.01 * scalar(sum ({calls})))"


def rate(metric: str, level: Iterable[str], *matchers: str, by: str = "", window: str = RATE) -> str:
    """Events per second, summed over rates."""
    return aggregate("sum", f"rate({select(metric, level, *matchers, window=window)})", by)


def count(metric: str, level: Iterable[str], *matchers: str, by: str = "", window: str = RANGE) -> str:
    """Events in a window, by default the dashboard's whole range."""
    return aggregate("sum", f"increase({select(metric, level, *matchers, window=window)})", by)


def ratio(part: str, whole: str, on: str = "") -> str:
    """Divide; nothing, rather than NaN, where there is nothing to divide by."""
    return f"{part} / {on + ' ' if on else ''}({whole} > 0)"


def top(expr: str, by: str, n: int = TOP) -> str:
    """Keep the same few lines over the whole range: those that were highest on average.

    A plain `topk` in a graph picks anew at every step, and ends up with a legend of everything.
    """
    return f"{expr} and on ({by}) topk({n}, avg_over_time(({expr})[{RANGE}:$__interval] @ end()))"


def top_recorded(metric: str, level: tuple[str, ...], by: str, operator: str = "max", n: int = TOP) -> str:
    """Do as `top` does, for a recorded series, whose own samples spare the subquery."""
    shown = aggregate(operator, select(metric, level), by)
    ranked = aggregate(operator, f"avg_over_time({select(metric, level, window=RANGE)} @ end())", by)
    return f"{shown} and on ({by}) topk({n}, {ranked})"


def quantile(q: float, metric: str, level: Iterable[str], *matchers: str, by: str = "", window: str = RATE) -> str:
    """Estimate a quantile over everything selected, from native histograms or else from classic buckets."""
    level = tuple(level)
    native = aggregate("sum", f"rate({select(metric, level, *matchers, window=window)})", by)
    classic = aggregate(
        "sum", f"rate({select(metric + '_bucket', level, *matchers, window=window)})", f"le, {by}" if by else "le"
    )
    return f"histogram_quantile({q:g}, {native}) >= 0 or histogram_quantile({q:g}, {classic}) >= 0"
