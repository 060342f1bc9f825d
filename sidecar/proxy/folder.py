"""A folder of this process alone, for as long as it lives; of those that were killed the next one removes what is left.

Who holds the lock on a folder owns it, and the kernel lets go of it when a process ends, however it does.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

PREFIX: Final = "claude-sidecar-workers-"
_TRIES: Final = 8


class Folder:
    """One folder; only its user may enter."""

    def __init__(self, place: Path | None = None) -> None:
        place = place or Path(tempfile.gettempdir())
        sweep(place)
        for _ in range(_TRIES):
            self.path: Path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
            self._lock = _locked(self.path)
            if self._lock is not None:
                return
            # Somebody who sweeps was quicker. Where nothing can be locked nobody sweeps, and the last will do.

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sweep(place: Path) -> None:
    """Remove this user's folders whose owners are gone."""
    for path in place.glob(PREFIX + "*"):
        lock = _locked(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _locked(path: Path) -> int | None:
    """Lock a folder of ours that nobody has locked; None where there is none (any more)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if found.st_uid == os.getuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(found, path.lstat()):  # else it was removed before it was locked
                return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
