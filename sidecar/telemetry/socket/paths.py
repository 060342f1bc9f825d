"""Where the socket is when nobody says: in a directory that only this user can write to."""

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

NAME: Final = "claude-sidecar.sock"
MAX_PATH: Final = 107
"""What fits into the kernel's address structure on Linux, in bytes."""


class SocketError(Exception):
    """The socket cannot be used; the message says why and what to do."""


def default_socket() -> Path:
    """Return ``$SIDECAR_SOCKET``, else a path in ``$XDG_RUNTIME_DIR`` or this user's own directory under ``/tmp``."""
    named = os.environ.get("SIDECAR_SOCKET")
    if named:
        return Path(named)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / NAME
    return _own_directory(Path(tempfile.gettempdir()) / f"claude-sidecar-{os.getuid()}") / NAME


def check_path(path: Path) -> Path:
    """Refuse a path the kernel would cut or not take."""
    if not path.name:  # Path("") is the working directory
        raise SocketError("the socket's path is empty: name a file, such as /run/app/sidecar.sock")
    raw = os.fsencode(path)
    if len(raw) > MAX_PATH:
        raise SocketError(
            f"the socket's path {str(path)!r} has {len(raw)} bytes, and the system takes {MAX_PATH}: "
            "choose a shorter one"
        )
    return path


def _own_directory(directory: Path) -> Path:
    # Anyone may make a directory of this name in /tmp first, and would then receive our records.
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise SocketError(
            f"{directory} is not a directory that only this user can write to (owner {found.st_uid}, "
            f"mode {stat.S_IMODE(found.st_mode):04o}): remove it, or name the socket yourself"
        )
    return directory
