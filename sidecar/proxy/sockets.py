"""The few things asked of a socket beyond what transports offer."""

import socket
import struct
from asyncio import Transport
from typing import Final

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


def reset_on_close(transport: Transport) -> None:
    """Have the connection end with a reset: for an answer whose clean end would mean that it is whole."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel find peers that vanished without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):  # macOS lacks one
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
