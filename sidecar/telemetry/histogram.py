"""`SparseHistogram`: base-2 exponential buckets in bounded memory, exact to 2.2 % a bucket.

One structure, read three ways: quantiles here, native histograms and classic buckets by the exposition. It knows
nothing of labels or formats. Bucket ``k`` at schema ``s`` holds the values in ``(2**(k/2**s), 2**((k+1)/2**s)]``.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from math import ceil, frexp, log2
from threading import RLock
from types import MappingProxyType
from typing import Final, NamedTuple

MAX_SCHEMA: Final = 5
MAX_BUCKETS: Final = 640
MAX_EXEMPLARS: Final = 8
ZERO_THRESHOLD: Final = 2.0**-40
"""Values up to this (about a picosecond) are counted as zero: no clock tells them apart."""
MAX_VALUE: Final = 2.0**60
"""Larger values are refused. With the zero threshold this keeps every schema at 2 or finer, so that the classic
buckets' bounds, two an octave, are always bounds of the histogram too."""


class Exemplar(NamedTuple):
    """One observation that can be looked up as a trace."""

    value: float
    trace_id: str
    at: float
    """Unix seconds."""


_NOWHERE: Final = MAX_BUCKETS * 2
_ROUNDING: Final = 1e-9
"""log2 of a bound may come out a last digit too high; a value that is a bound belongs to the bucket below it."""
_NO_EXEMPLARS: Final[Mapping[int, Exemplar]] = MappingProxyType({})


class HistogramSnapshot(NamedTuple):
    """A histogram at one moment."""

    schema: int = MAX_SCHEMA
    low: int = 0
    """The index of the first of ``counts``."""
    counts: "array[int]" = array("I")  # never written to
    zeros: int = 0
    sum: float = 0.0
    exemplars: Mapping[int, Exemplar] = _NO_EXEMPLARS
    """The latest of each octave, by the power of two above it."""

    @property
    def total(self) -> int:
        """How many values were observed."""
        return self.zeros + sum(self.counts)

    def quantile(self, q: float) -> float:
        """Return the value that the share ``q`` of all observations does not exceed; NaN when there are none.

        It is the geometric middle of the bucket the observation lies in: at schema 5 within 1.1 % of it.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile lies between 0 and 1, not at {q!r}")
        total = self.total
        if not total:
            return math.nan
        # An order statistic, not an interpolation; the tiny allowance keeps 0.07 * 100 from meaning the eighth.
        rank = max(1, ceil(q * total * (1 - 1e-12)))
        position = bisect_left([*accumulate(self.counts, initial=self.zeros)], rank)
        return 2.0 ** ((self.low + position - 0.5) / (1 << self.schema)) if position else 0.0

    def cumulative(self, low: int, high: int) -> list[int]:
        """Count what does not exceed ``2**(n/2)``, for each n from ``low`` to ``high``; the total comes last."""
        step = 1 << (self.schema - 1)
        running = list(accumulate(self.counts, initial=self.zeros))
        wanted = high - low + 1
        first = low * step - self.low
        before = min(wanted, max(0, -(first // step)))
        within = running[first + before * step : high * step - self.low + 1 : step] if before < wanted else []
        after = wanted - before - len(within)
        return [self.zeros] * before + within + [running[-1]] * (after + 1)


def half_octave(value: float) -> int:
    """Return the least ``n`` for which ``2**(n/2)`` is not below a value; zero counts as the threshold."""
    return ceil(log2(max(value, ZERO_THRESHOLD)) * 2 - _ROUNDING)


class SparseHistogram:
    """A histogram of values from 0 to ``MAX_VALUE``, which any thread may observe into.

    It starts at the finest schema and halves its resolution whenever it would span more than ``MAX_BUCKETS`` buckets.
    ``lock`` may be shared with others; it must be reentrant.
    """

    __slots__ = ("_before", "_counts", "_exemplars", "_lock", "_low", "_scale", "_schema", "_sum", "_zeros")

    def __init__(self, lock: "RLock | None" = None) -> None:
        self._schema = MAX_SCHEMA
        self._scale = float(1 << MAX_SCHEMA)
        self._low = 0
        self._before = 1.0 + _ROUNDING  # what lies before the first bucket: one more than its index, and the rounding
        self._counts = array("I")
        self._zeros = 0
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] | None = None
        self._lock = lock if lock is not None else RLock()

    def observe(self, value: float, *, trace_id: str | None = None, at: float = 0.0) -> None:
        """Count a value; with a trace id, keep it as an exemplar too. Refuses what is no value from 0 to the limit."""
        if not 0.0 <= value <= MAX_VALUE:
            raise ValueError(f"a histogram holds values from 0 to {MAX_VALUE:g}, not {value!r}")
        with self._lock:
            self.add(value)
            if trace_id is not None:
                self.add_exemplar(value, trace_id, at)

    def add(self, value: float) -> None:
        """Count a value known to be fit. The caller holds the lock: this is for those who observe many at once."""
        if value > ZERO_THRESHOLD:
            position = ceil(log2(value) * self._scale - self._before)
            try:
                # A negative position would count from the end.
                self._counts[position if position >= 0 else _NOWHERE] += 1
            except (IndexError, OverflowError):
                index = position + self._low
                halvings = self._make_room(index, index, self._schema)
                self._count((index >> halvings) - self._low, 1)
        else:
            self._zeros += 1
        self._sum += value

    def add_exemplar(self, value: float, trace_id: str, at: float) -> None:
        """Keep a counted value as the latest exemplar of its octave. The caller holds the lock."""
        exemplars = self._exemplars
        if exemplars is None:
            exemplars = self._exemplars = {}
        octave = frexp(value)[1]
        if octave not in exemplars and len(exemplars) >= MAX_EXEMPLARS:
            del exemplars[min(exemplars, key=lambda known: exemplars[known].at)]
        exemplars[octave] = Exemplar(value, trace_id, at)

    def snapshot(self) -> HistogramSnapshot:
        """Return a copy that stays as it is."""
        with self._lock:
            exemplars = _NO_EXEMPLARS if self._exemplars is None else dict(self._exemplars)
            return HistogramSnapshot(self._schema, self._low, self._counts[:], self._zeros, self._sum, exemplars)

    def merge(self, other: HistogramSnapshot) -> None:
        """Add another histogram's observations; the coarser schema of the two stays."""
        schema, low, counts = other.schema, other.low, other.counts
        with self._lock:
            while self._schema > schema:
                self._halve()
            used = [index for index, count in enumerate(counts, low) if count]
            if used:
                shift = schema - self._schema + self._make_room(used[0], used[-1], schema)
                for index in used:
                    self._count((index >> shift) - self._low, counts[index - low])
            self._zeros += other.zeros
            self._sum += other.sum
            for exemplar in sorted(other.exemplars.values(), key=lambda exemplar: exemplar.at):
                self.add_exemplar(*exemplar)

    def _make_room(self, first: int, last: int, schema: int) -> int:
        """Make the buckets from ``first`` to ``last`` of ``schema`` fit; return how often that took a halving."""
        shift = schema - self._schema
        first, last = first >> shift, last >> shift
        used = [index for index, count in enumerate(self._counts, self._low) if count]
        begin, end = (min(first, used[0]), max(last, used[-1])) if used else (first, last)
        halvings = 0
        while end - begin >= MAX_BUCKETS:
            self._halve()
            begin, end, first, last = begin >> 1, end >> 1, first >> 1, last >> 1
            halvings += 1
        # Room grows by whole half octaves, so that it grows seldom and so that the classic bounds fall on its edges.
        step = 1 << (self._schema - 1)
        first, last = first // step * step, (last // step + 1) * step
        if not self._counts:
            self._low = first
        before, after = max(0, self._low - first), max(0, last - self._low - len(self._counts))
        if before or after:
            kind = self._counts.typecode
            self._counts = array(kind, [0] * before) + self._counts + array(kind, [0] * after)
            self._low -= before
        self._before = 1.0 + _ROUNDING + self._low
        return halvings

    def _count(self, position: int, count: int) -> None:
        try:
            self._counts[position] += count
        except OverflowError:
            self._counts = array("Q", self._counts)
            self._counts[position] += count

    def _halve(self) -> None:
        # The room begins and ends on half octaves: at every schema an even number of buckets from an even index.
        pairs = [below + above for below, above in zip(self._counts[::2], self._counts[1::2], strict=True)]
        try:
            self._counts = array(self._counts.typecode, pairs)
        except OverflowError:
            self._counts = array("Q", pairs)
        self._low >>= 1
        self._before = 1.0 + _ROUNDING + self._low
        self._schema -= 1
        self._scale = float(1 << self._schema)
