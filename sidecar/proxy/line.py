"""The line between the process that supervises and one worker: packets both ways, and the end of either heard.

Down it come orders (JSON); up it come the word that the worker is ready, and its notes.
"""

import json
import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

READY: Final = b"ready"
MAX_PACKET: Final = 128 * 1024
_BUFFER: Final = 1 << 20


class WorkerError(Exception):
    """The workers cannot be started."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Make both ends."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return ends


class Line:
    """One end, on an event loop."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        *,
        heard: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._socket: socket.socket | None = sock
        self._heard = heard
        self._ended = ended
        sock.setblocking(False)  # noqa: FBT003  # its only form
        loop.add_reader(sock, self.listen)

    def send(self, packet: bytes) -> bool:
        """Send a packet; say whether there was room for it, and somebody to take it."""
        try:
            return self._socket is not None and self._socket.send(packet) > 0
        except OSError:
            return False

    def order(self, order: Mapping[str, Any]) -> bool:
        """Send an order."""
        return self.send(json.dumps(order).encode())

    def listen(self) -> None:
        """Take what has arrived."""
        while self._socket is not None:
            try:
                packet = self._socket.recv(MAX_PACKET)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                packet = b""
            if not packet:
                self.close()
                self._ended()
                return
            self._heard(packet)

    def close(self) -> None:
        """Hang up."""
        sock, self._socket = self._socket, None
        if sock is not None:
            self._loop.remove_reader(sock)
            sock.close()
