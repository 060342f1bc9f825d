"""Ctrl-C and SIGTERM, acted on only where the demo waits.

An exception out of a signal handler strikes anywhere, also between the start of a program and the note of who has to
stop it: what then runs on writes into a folder that is already gone. Here the wish is kept until the next pause.
"""

import signal
import time
from typing import Final

__all__ = ["listen", "pause"]

_GLANCE: Final = 0.05
_asked = False


def listen() -> None:
    """Keep the wish to end from now on; a second one changes nothing: impatience must not leave half of it behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ask)


def pause(seconds: float) -> None:
    """Wait; raise KeyboardInterrupt when somebody asked to end, before or meanwhile."""
    end = time.monotonic() + seconds
    while not _asked:
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _GLANCE))
    raise KeyboardInterrupt


def _ask(*_: object) -> None:
    global _asked  # noqa: PLW0603  # signals are the process's own
    _asked = True
