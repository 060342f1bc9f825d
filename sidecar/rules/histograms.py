"""The two ways a histogram is stored, and how each is read: the only place where native and classic differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sidecar.rules.durations import seconds
from sidecar.rules.model import Recording
from sidecar.rules.promql import by, nested, rate, series

_OWN: Final = "source, endpoint, model, profile, stream, outcome"
"""What tells apart the series of one process."""


class Buckets(StrEnum):
    """How Prometheus stores our histograms: by its own flag, native; otherwise classic."""

    NATIVE = "native"
    CLASSIC = "classic"


@dataclass(frozen=True, slots=True)
class Reading:
    """Expressions over the histogram ``metric``, as rates over a window."""

    buckets: Buckets

    def restarts(self, window: str) -> tuple[Recording, ...]:
        """Record which processes began anew within the window, for `quantiles` to read."""
        if self.buckets is Buckets.CLASSIC:
            return ()
        resets = f"resets(claude_calls_total[{window}])"
        return (Recording(record=_restarts(window), expr=f"max without ({_OWN}) ({resets}) > 0"),)

    def quantiles(
        self, what: str, stats: Mapping[str, float], level: tuple[str, ...], metric: str, *, window: str, matchers: str
    ) -> tuple[Recording, ...]:
        """Record quantiles as ``claude:WHAT:STAT_WINDOW``; no result, rather than NaN, where nothing was observed.

        What costs is to read the buckets over a window. Classic ones are read once for all quantiles, and their rates
        recorded: a working copy for the rules that follow. Native ones are read for each quantile, for a recorded
        series is never a histogram, and so that this is cheap, restarts are not looked for in them.
        """
        if self.buckets is Buckets.CLASSIC:
            rates = rate((*level, "le"), f"{metric}_bucket", window, matchers)
            observed = f"claude:{what}:buckets_{window}"
            return (Recording(record=observed, expr=rates), *_quantiles(what, stats, observed, window))
        return _quantiles(what, stats, by(level, _rise(metric, matchers, window)), window)

    def samples(self, what: str, level: tuple[str, ...], metric: str, *, matchers: str) -> tuple[Recording, ...]:
        """Copy the rates of classic buckets, for `quantiles_of_samples` to add up; native ones cannot be copied."""
        if self.buckets is Buckets.NATIVE:
            return ()
        rates = rate((*level, "le"), f"{metric}_bucket", "5m", matchers)
        return (Recording(record=_sampled(what), expr=rates),)

    def quantiles_of_samples(
        self,
        what: str,
        stats: Mapping[str, float],
        level: tuple[str, ...],
        metric: str,
        *,
        window: str,
        pace: str,
        matchers: str,
    ) -> tuple[Recording, ...]:
        """Record quantiles over a long window: of `samples`, or of native histograms as they were at the same pace."""
        if self.buckets is Buckets.CLASSIC:
            observed = f"sum_over_time({_sampled(what)}[{window}])"
        else:
            observed = rate(level, metric, f"{window}:{pace}", matchers)
        return _quantiles(what, stats, observed, window)

    def observations(self, what: str, level: tuple[str, ...], metric: str, *, window: str) -> tuple[Recording, ...]:
        """Record observations per second as ``claude:WHAT:rate_WINDOW``.

        Of native histograms the count alone is copied first, a counter like any other: to read all of each over a
        window would cost ten times as much.
        """
        name = f"claude:{what}:rate_{window}"
        if self.buckets is Buckets.CLASSIC:
            return (Recording(record=name, expr=rate(level, f"{metric}_count", window)),)
        counted = Recording(record=f"claude:{what}:counted", expr=f"histogram_count({metric})")
        return (counted, Recording(record=name, expr=rate(level, counted.record, window)))

    def count(self, level: tuple[str, ...], metric: str, window: str) -> str:
        """Count observations per second; near a restart, as `total` adds them up, so that their mean is right."""
        return self._part(("histogram_count", "_count"), level, metric, window)

    def total(self, level: tuple[str, ...], metric: str, window: str) -> str:
        """Add up the observed values per second."""
        return self._part(("histogram_sum", "_sum"), level, metric, window)

    def _part(self, part: tuple[str, str], level: tuple[str, ...], metric: str, window: str) -> str:
        function, suffix = part
        if self.buckets is Buckets.NATIVE:
            return f"{function}({by(level, _rise(metric, '', window))}) / {seconds(window):g}"
        return rate(level, metric + suffix, window)


def _quantiles(what: str, stats: Mapping[str, float], observed: str, window: str) -> tuple[Recording, ...]:
    return tuple(
        Recording(record=f"claude:{what}:{stat}_{window}", expr=f"histogram_quantile({q:g}, {observed}) >= 0")
        for stat, q in stats.items()
    )


def _sampled(what: str) -> str:
    return f"claude:{what}:sampled_5m"


def _restarts(window: str) -> str:
    return f"claude:processes:restarted_{window}"


def _rise(metric: str, matchers: str, window: str) -> str:
    """Spell by how much native histograms rose.

    `rate` would compare every bucket of every sample with the one before, which is three quarters of its work; a
    counter of the same process tells of a restart as well. From then on all of what it has observed is new.
    """
    restarted = f"ignoring ({_OWN}) {_restarts(window)}"
    rise, all_of_it = f"delta({series(metric, matchers, window)})", series(metric, matchers)
    return nested(f"{rise} unless {restarted}\nor\n{all_of_it} and {restarted}")[1:-1]
