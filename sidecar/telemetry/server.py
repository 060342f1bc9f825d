"""`serve_metrics`: a small server of the metrics page in a thread of its own, for programs that have none."""

import logging
import socket
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Thread
from types import TracebackType
from typing import Final, Self

from sidecar.telemetry.page import PATH, MetricsPage, not_found
from sidecar.telemetry.telemetry import Telemetry

DEFAULT_PORT: Final = 9464
"""The port OpenTelemetry registered for Prometheus exporters."""
_TIMEOUT: Final = 10.0
_POLL: Final = 0.1
"""How often it looks whether it should stop, in seconds."""
_LOGGER: Final = logging.getLogger("sidecar.telemetry")


class MetricsServer:
    """A running server; ``with`` closes it at the end of the block."""

    def __init__(self, server: ThreadingTCPServer) -> None:
        self._server: Final = server
        self._thread: Final = Thread(target=server.serve_forever, args=(_POLL,), name="sidecar-metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host = str(self._server.server_address[0])
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{PATH}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve_metrics(
    port: int = DEFAULT_PORT, address: str = "127.0.0.1", *, telemetry: Telemetry | None = None
) -> MetricsServer:
    """Serve ``/metrics`` from a background thread: of the shared `Telemetry`, or of the one given.

    Port 0 takes any free one. The default address is reached from this machine only; the page has no password, so
    think before opening it wider.
    """
    page = MetricsPage(telemetry)

    class Handler(_Handler):
        metrics = page

    class Server(_Server):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    try:
        return MetricsServer(Server((address, port), Handler))
    except OSError as error:
        raise OSError(
            error.errno, f"cannot serve metrics on {address}:{port} ({error.strerror}): choose a free port, or port 0"
        ) from error


class _Server(ThreadingTCPServer):
    # Not http.server's own, which looks its address up in the DNS.
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  # socketserver's
        # A scraper that hung up; what goes wrong with the page is counted there.
        _LOGGER.debug("a request for the metrics broke off")


class _Handler(BaseHTTPRequestHandler):
    metrics: MetricsPage
    timeout = _TIMEOUT
    server_version = "claude-sidecar"
    sys_version = ""

    def _answer(self) -> None:
        if self.path.partition("?")[0] == PATH:
            headers = self.headers
            accept = ",".join(headers.get_all("Accept", ()))
            answer = self.metrics.answer(self.command, accept, ",".join(headers.get_all("Accept-Encoding", ())))
        else:
            answer = not_found()
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815  # http.server's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        _LOGGER.debug(format, *args)
