"""The two ways a histogram is stored, and how each is read: the only place where native and classic differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.rules.model import Recording
from sidecar.rules.promql import by, series


class Buckets(StrEnum):
    """How Prometheus stores our histograms: by its own flag, native; otherwise classic."""

    NATIVE = "native"
    CLASSIC = "classic"


@dataclass(frozen=True, slots=True)
class Reading:
    """Expressions over the histogram ``metric``, as rates over a window."""

    buckets: Buckets

    def quantiles(
        self, what: str, stats: Mapping[str, float], level: tuple[str, ...], metric: str, *, window: str, matchers: str
    ) -> tuple[Recording, ...]:
        """Record quantiles as ``claude:WHAT:STAT_WINDOW``; no result, rather than NaN, where nothing was observed.

        What costs is to read the buckets over a window. Classic ones are read once for all quantiles, and their rates
        recorded: a working copy for the rules that follow. Native ones are read for each quantile, because Prometheus
        2.42 refuses to store many a histogram that a rule results in: its float counts do not add up to the last digit.
        """
        if self.buckets is Buckets.NATIVE:
            first: tuple[Recording, ...] = ()
            observed = by(level, f"rate({series(metric, matchers, window)})")
        else:
            rates = by((*level, "le"), f"rate({series(metric + '_bucket', matchers, window)})")
            observed = f"claude:{what}:buckets_{window}"
            first = (Recording(record=observed, expr=rates),)
        return (
            *first,
            *(
                Recording(record=f"claude:{what}:{stat}_{window}", expr=f"histogram_quantile({q:g}, {observed}) >= 0")
                for stat, q in stats.items()
            ),
        )

    def observations(self, level: tuple[str, ...], metric: str, window: str, matchers: str = "") -> str:
        """Count observations per second."""
        return self._part(("histogram_count", "_count"), level, metric, window, matchers)

    def total(self, level: tuple[str, ...], metric: str, window: str, matchers: str = "") -> str:
        """Add up the observed values per second."""
        return self._part(("histogram_sum", "_sum"), level, metric, window, matchers)

    def _part(self, part: tuple[str, str], level: tuple[str, ...], metric: str, window: str, matchers: str) -> str:
        function, suffix = part
        if self.buckets is Buckets.NATIVE:
            return f"{function}({by(level, f'rate({series(metric, matchers, window)})')})"
        return by(level, f"rate({series(metric + suffix, matchers, window)})")
