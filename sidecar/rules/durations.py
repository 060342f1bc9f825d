"""Windows and pauses as Prometheus spells them: ``90s``, ``1h30m``, ``30d``."""

import re
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_SHAPE: Final = re.compile(r"(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+s)?(?:\d+ms)?")
_PART: Final = re.compile(r"(\d+)(ms|[smhdwy])")
_LONGEST: Final = 20


def seconds(text: str) -> float:
    """Read a duration such as ``5m`` or ``1h30m``."""
    if not text or len(text) > _LONGEST or not _SHAPE.fullmatch(text):
        raise ValueError(f"{text[:_LONGEST]!r} is not a duration; write one as Prometheus does, such as 30s, 5m or 1d")
    return sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))


def duration(value: float) -> str:
    """Write seconds as the shortest single-unit duration: 300 as ``5m``, 5400 as ``90m``."""
    for unit in ("d", "h", "m", "s"):
        count = value / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{round(value * 1000)}ms"
