"""What an answer's headers say of trying again. They come from outside: what is not plainly right counts as absent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_NUMBER: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_LONGEST_DATE: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """The server's wishes."""

    after: float | None = None
    """Seconds to wait, never negative; None when it named none."""
    should_retry: bool | None = None
    """Its own word on whether to try again; None when it gave none."""


NO_HINTS: Final = Hints()


def parse_hints(headers: Mapping[str, str], *, unix_now: float | None = None) -> Hints:
    """Read ``retry-after-ms``, ``retry-after`` (seconds or a date) and ``x-should-retry``, in any case of letters.

    A date is counted from the answer's own ``date``, which no difference between clocks can spoil; where that is
    missing, from ``unix_now``, the wall clock in Unix seconds.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    after = _number(lower.get("retry-after-ms", ""))
    if after is not None:
        after /= 1000
    else:
        text = lower.get("retry-after", "")
        after = _number(text)
        if after is None:
            after = _until(_date(text), _date(lower.get("date", "")), unix_now)
    return Hints(after=after, should_retry={"true": True, "false": False}.get(lower.get("x-should-retry", "").lower()))


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _until(date: float | None, answered: float | None, unix_now: float | None) -> float | None:
    now = answered if answered is not None else unix_now
    return None if date is None or now is None else max(date - now, 0.0)


def _date(text: str) -> float | None:
    if len(text) > _LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(text)
        # A date without a zone is UTC by HTTP's rules; left alone it would be this machine's.
        return (date if date.tzinfo else datetime.combine(date.date(), date.time(), UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
