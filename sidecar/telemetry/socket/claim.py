"""A Unix socket's file, taken so that a live owner is never robbed and what a killed one left behind is taken over."""

import fcntl
import os
import socket
import stat
from pathlib import Path

from sidecar.telemetry.socket.paths import SocketError


def lock(path: Path) -> int:
    """Claim the path; returns the descriptor that holds the claim. Raises `SocketError` where another holds it."""
    _check_socket(path)  # before the lock, so that no file of ours is left beside what is somebody else's
    # The lock's file stays when we go: whoever removed it could remove it from under a third one's feet.
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _in_use(path) from None
    return descriptor


def clear(path: Path, kind: socket.SocketKind) -> None:
    """Remove what a killed sidecar left at ``path``, and nothing else."""
    if not _check_socket(path):
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # so many wait for it that it takes no more
            pass
        except OSError as error:
            raise SocketError(f"{path} is another program's socket ({error.strerror}): choose another path") from error
    raise _in_use(path)


def bind(path: Path, mode: int, kind: socket.SocketKind) -> socket.socket:
    """Make the socket; ``mode`` is its file's."""
    made = socket.socket(socket.AF_UNIX, kind)
    try:
        made.settimeout(0)
        # The mode must be right from the first moment on, so it is the umask that sets it; chmod makes it exact.
        before = os.umask(0o777 & ~mode)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(mode)
    except BaseException:
        made.close()
        raise
    return made


def _check_socket(path: Path) -> bool:
    """Say whether anything is there; refuse what is no socket."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketError(f"{path} exists and is not a socket: remove it, or choose another path")
    return True


def _in_use(path: Path) -> SocketError:
    return SocketError(f"the socket {path} is in use by another sidecar: stop that one, or choose another path")
