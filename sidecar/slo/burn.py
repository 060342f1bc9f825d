"""Burn rates: the windows of the alerts, and how fast the budget must burn in them.

The shares are those of the SRE workbook: a page when 2 % of the period's budget went in an hour or 5 % in six, a
ticket when a tenth went in a day or in three.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sidecar.rules import seconds

PERIODS: Final = (7 * 86400.0, 90 * 86400.0)
"""The shortest and the longest period: below a week, the three-day window says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A long window that shows enough budget gone, and a short one that shows it is still going."""

    long: str
    short: str
    share: str
    """Of the period's budget, spent within the long window."""

    def factor(self, period: str) -> Decimal:
        """Return how many times faster than the budget allows; never below 1, which is on target."""
        return max(Decimal(1), Decimal(self.share) * Decimal(seconds(period)) / Decimal(seconds(self.long)))


PAGE: Final = (Pair(long="1h", short="5m", share="0.02"), Pair(long="6h", short="30m", share="0.05"))
TICKET: Final = (Pair(long="1d", short="2h", share="0.1"), Pair(long="3d", short="6h", share="0.1"))


def budget(objective: float) -> Decimal:
    """Return the share of events that may fail, without the noise of binary fractions."""
    return 1 - Decimal(str(objective)) / 100


def possible(pair: Pair, objective: float, period: str) -> bool:
    """Tell whether any share of errors at all is above the pair's threshold."""
    return budget(objective) * pair.factor(period) < 1
