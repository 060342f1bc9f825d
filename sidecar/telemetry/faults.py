"""`FaultLog`: what goes wrong here is logged once for each place, and never in its own words."""

import logging
import traceback
from typing import Final

_MAX_PLACES: Final = 50
_LOGGER: Final = logging.getLogger("sidecar.telemetry")


class FaultLog:
    """Remembers which places have been told of: a fault that repeats with every call must not fill a disk."""

    def __init__(self) -> None:
        self._told: Final[set[str]] = set()

    def tell(self, where: str, error: BaseException) -> None:
        """Log the first fault of a place."""
        if where in self._told or len(self._told) >= _MAX_PLACES:
            return
        self._told.add(where)
        # An exception's message may quote what it stumbled over, and that may be content.
        frame = (traceback.extract_tb(error.__traceback__) or (None,))[-1]
        place = f" at {frame.filename}:{frame.lineno}" if frame else ""
        _LOGGER.warning("%s: %s%s; further ones are only counted", where, type(error).__name__, place)
