"""The bounds of our histograms, and which of them stands for a threshold.

Only at a bound is a threshold exact. Any other is lowered to the bound below it, which favours the one who waits: the
objective kept is never weaker than the one asked for.
"""

import math
from typing import Final

NATIVE_PER_OCTAVE: Final = 32
"""Schema 5: neighbouring bounds differ by 2.2 %."""
CLASSIC_PER_OCTAVE: Final = 2
CLASSIC_OCTAVES: Final = (-7, 12)
"""7.8 ms to 4,096 s."""

_EXACT: Final = 1e-6
"""Nobody writes all digits of a bound: 1.414214 is meant to be the one at the root of 2."""


def native_bound(threshold: float) -> float:
    """Return the highest native bound that is not above the threshold."""
    return _below(threshold, NATIVE_PER_OCTAVE)


def classic_bound(threshold: float) -> float | None:
    """Return the highest classic bound that is not above the threshold; None where there is none."""
    low, high = CLASSIC_OCTAVES
    bound = _below(threshold, CLASSIC_PER_OCTAVE)
    if bound < 2.0**low or threshold > 2.0**high * (1 + _EXACT):
        return None
    return bound


def is_bound(threshold: float, bound: float) -> bool:
    """Tell whether a threshold means the bound itself."""
    return abs(threshold / bound - 1) <= _EXACT


def le_matcher(bound: float) -> str:
    """Match the classic bucket, whichever way its bound is written: 1 and 1.0 are both about."""
    if bound == int(bound):
        return f'le=~"{int(bound)}([.]0)?"'
    return f'le="{bound!r}"'


def _below(threshold: float, per_octave: int) -> float:
    return float(2.0 ** (math.floor(math.log2(threshold * (1 + _EXACT)) * per_octave) / per_octave))
