"""Owns the sidecar's Unix socket and feeds what arrives into a `Telemetry`; knows nothing of event loops.

Only one sidecar may own a socket: a lock file beside it decides, so that a live one is never stolen and what a killed
one left behind is taken over.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.telemetry.snapshot import GaugeSnapshot
from sidecar.telemetry.socket import layout
from sidecar.telemetry.socket.claim import bind, clear, lock
from sidecar.telemetry.socket.decoder import MalformedError, decode
from sidecar.telemetry.socket.paths import SocketError, check_path, default_socket
from sidecar.telemetry.telemetry import Telemetry

_TURN: Final = 0.005
"""How long one turn of reading may hold an event loop, in seconds; it takes at least one datagram."""
_RECEIVE_BUFFER: Final = 8 << 20


class Receiver:
    """The receiving end of the socket. ``mode``: the socket's file mode, which says who may send."""

    def __init__(
        self,
        telemetry: Telemetry,
        path: str | Path | None = None,
        *,
        mode: int = 0o600,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path: Final = check_path(Path(path) if path is not None else default_socket())
        self.records = 0
        """How many records were taken."""
        self._telemetry: Final = telemetry
        self._mode: Final = mode
        self._clock: Final = clock
        self._socket: socket.socket | None = None
        self._lock: int | None = None
        self._inode = 0

    def open(self) -> None:
        """Make the socket; raises `SocketError` when it cannot be had, and leaves nothing behind."""
        try:
            self._lock = lock(self.path)
            clear(self.path, socket.SOCK_DGRAM)
            self._socket = bind(self.path, self._mode, socket.SOCK_DGRAM)
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._inode = self.path.stat().st_ino
        except OSError as error:
            self.close()
            raise SocketError(f"cannot make the socket {self.path}: {error.strerror}") from error
        except SocketError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor to watch for reading."""
        return -1 if self._socket is None else self._socket.fileno()

    def drain(self, seconds: float = _TURN) -> bool:
        """Take what has arrived, for about ``seconds``; say whether all of it was taken."""
        if self._socket is None:
            return True
        until = self._clock() + seconds
        while True:
            try:
                datagram = self._socket.recv(layout.MAX_DATAGRAM + 1)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError as error:
                self._telemetry.internal_error("socket_receive", error)
                return True
            self.take(datagram)
            if self._clock() >= until:
                return False

    def take(self, datagram: bytes) -> None:
        """Feed one datagram to the telemetry; what makes no sense is counted as dropped."""
        try:
            content = decode(datagram)
        except MalformedError as problem:
            self._telemetry.dropped(f"socket_{problem.reason}")
            return
        if isinstance(content, GaugeSnapshot):
            self._telemetry.absorb(content)
            return
        for attempt in content.attempts:
            self._telemetry.attempt(attempt)
        for call in content.calls:
            self._telemetry.call(call)
        self.records += len(content.attempts) + len(content.calls)
        if content.invalid:
            self._telemetry.dropped("socket_invalid", content.invalid)

    def is_there(self) -> bool:
        """Whether the file is still ours, so that senders find us."""
        try:
            return self._socket is not None and self.path.lstat().st_ino == self._inode
        except OSError:
            return False

    def close(self, within: float = 1.0) -> None:
        """Remove the socket, if it is still ours, and take what was sent to it before, for ``within`` seconds."""
        if self._socket is not None:
            if self.is_there():
                with contextlib.suppress(OSError):
                    self.path.unlink()
            self.drain(within)
            self._socket.close()
            self._socket = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
