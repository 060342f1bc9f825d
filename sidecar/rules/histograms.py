"""The two ways a histogram is stored, and how each is read: the only place where native and classic differ."""

from dataclasses import dataclass
from enum import StrEnum

from sidecar.rules.promql import by, series


class Buckets(StrEnum):
    """How Prometheus stores our histograms: by its own flag, native; otherwise classic."""

    NATIVE = "native"
    CLASSIC = "classic"


@dataclass(frozen=True, slots=True)
class Reading:
    """Expressions over the histogram ``metric``, as rates over a window."""

    buckets: Buckets

    def quantile(self, q: float, level: tuple[str, ...], metric: str, window: str, matchers: str = "") -> str:
        """Estimate a quantile; no result, rather than NaN, where nothing was observed."""
        if self.buckets is Buckets.NATIVE:
            inner = by(level, f"rate({series(metric, matchers, window)})")
        else:
            inner = by((*level, "le"), f"rate({series(metric + '_bucket', matchers, window)})")
        return f"histogram_quantile({q:g}, {inner}) >= 0"

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
