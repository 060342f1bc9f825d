"""Asks servers on this machine over HTTP, past any proxy that the environment names."""

import urllib.request
from typing import IO, Final

__all__ = ["opened"]

_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def opened(url: str, seconds: float, body: bytes | None = None) -> IO[bytes]:
    """Open a page, or send a body to it; raises OSError, also for a status that is no success."""
    answer: IO[bytes] = _OPENER.open(url, body, seconds)
    return answer
