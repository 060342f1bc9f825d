"""`LabelGuard`: keeps each label to a bounded number of values, so that nobody's inventions can fill the memory.

It knows values by label, nothing of series. It has no lock: its owner holds one.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

OTHER: Final = "other"
"""What a value becomes that has no place."""
NONE: Final = "none"
"""What an empty value becomes: to Prometheus an empty label is a missing one."""
MAX_LENGTH: Final = 128
GUARDED: Final = ("endpoint", "model", "status", "reason", "breaker", "scope", "where")
"""The labels whose values are not a closed set of ours."""

_RESERVED: Final = frozenset({OTHER, NONE})


class Admission(NamedTuple):
    """What to put into a label."""

    value: str
    stable: bool
    """Whether the same value will always get this answer, so that it may be remembered."""


class LabelGuard:
    """Admits at most ``limit`` values per label; the rest become ``other`` and are told to ``on_overflow``.

    Only half the places go to whoever comes first. The others are kept for values proven by a successful answer;
    a proven value gives back the place it had before.
    """

    def __init__(self, limit: int, on_overflow: Callable[[str], None]) -> None:
        if limit < 2:  # noqa: PLR2004  # half of the places must be at least one
            raise ValueError(f"a label needs room for at least 2 values, not {limit!r}")
        self._limit: Final = limit
        self._on_overflow: Final = on_overflow
        # Per label, each admitted value and whether it is proven.
        self._labels: Final[dict[str, dict[str, bool]]] = {}

    def admit(self, label: str, value: str, *, proven: bool = False) -> Admission:
        """Say what stands for ``value`` in ``label``; ``proven`` means it was part of a successful answer."""
        if not value:
            return Admission(NONE, stable=True)
        values = self._labels.setdefault(label, {})
        known = values.get(value)
        if known is None and value not in _RESERVED:
            if not self._has_room(values, proven=proven) or not _is_fit(value):
                self._on_overflow(label)
                return Admission(OTHER, stable=False)
            values[value] = proven
        elif proven and known is False:
            values[value] = True
        return Admission(value, stable=True)

    def is_proven(self, label: str, value: str) -> bool:
        """Whether the value was part of a successful answer."""
        return self._labels.get(label, {}).get(value, False)

    def _has_room(self, values: dict[str, bool], *, proven: bool) -> bool:
        if len(values) >= self._limit:
            return False
        return proven or len(values) - sum(values.values()) < self._limit // 2


def _is_fit(value: str) -> bool:
    # Lone surrogates and control characters are not printable: they could not be encoded, or would garble a page.
    return len(value) <= MAX_LENGTH and value.isprintable()
