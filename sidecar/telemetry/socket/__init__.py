"""The Unix socket that carries many processes' records and gauges to one sidecar."""

from sidecar.telemetry.socket.paths import SocketError, default_socket
from sidecar.telemetry.socket.receiver import Receiver
from sidecar.telemetry.socket.sender import SocketSender

__all__ = ["Receiver", "SocketError", "SocketSender", "default_socket"]
