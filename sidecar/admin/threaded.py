"""`serve_metrics`: the metrics and the console from a thread of its own, for programs without an event loop to lend."""

import errno
import logging
import socket
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

from sidecar.admin.listen import PORTS, Address, host_is_ours
from sidecar.admin.routes import open_console
from sidecar.console import EVERY, Console, Viewer, asked
from sidecar.telemetry import Telemetry, default_telemetry
from sidecar.telemetry.page import PATH, Answer, MetricsPage, refusal

DEFAULT_PORT: Final = 9464
"""The port OpenTelemetry registered for Prometheus exporters."""
_TIMEOUT: Final = 10.0
_POLL: Final = 0.1
"""How often it looks whether it should stop, in seconds."""
_NOT_OURS: Final = frozenset({errno.EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN})
_LOGGER: Final = logging.getLogger("sidecar.admin")


class MetricsServer:
    """A running server; ``with`` closes it at the end of the block."""

    def __init__(self, server: "_Server") -> None:
        self._server: Final = server
        self._thread: Final = Thread(target=server.serve_forever, args=(_POLL,), name="sidecar-metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.listening.port

    @property
    def url(self) -> str:
        """Where the metrics are; the console is at the same address, at ``/``."""
        return f"http://{self._server.listening}{PATH}"

    def close(self) -> None:
        """Stop listening."""
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.console.close()
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
    """Serve ``/metrics`` and the console from a background thread: of the shared `Telemetry`, or of the one given.

    Port 0 takes any free one. The default address is reached from this machine only. At any other the metrics have no
    password, and the console is shown only with the token in ``SIDECAR_CONSOLE_TOKEN``.
    """
    if type(port) is not int or port not in PORTS:
        raise ValueError(f"the port is {port!r}; it must be a whole number from 0 (any free one) to {PORTS[-1]}")
    telemetry = telemetry or default_telemetry()
    console = open_console(telemetry, Address(address, port), mode="client")
    try:
        return MetricsServer(_Server(Address(address, port), MetricsPage(telemetry), console))
    except OSError as error:
        console.close()
        choose = "an address of this machine" if error.errno in _NOT_OURS else "a free port, or port 0"
        raise OSError(
            error.errno, f"cannot serve metrics on {address}:{port} ({error.strerror}): choose {choose}"
        ) from None


class _Server(ThreadingTCPServer):
    # Not http.server's own, which looks its address up in the DNS.
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: Address, metrics: MetricsPage, console: Console) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.metrics: Final = metrics
        self.console: Final = console
        self.paths: Final = frozenset(console.paths())
        self.closing: Final = Event()
        super().__init__((address.host, address.port), _Handler)
        host, port = self.server_address[:2]
        self.listening: Final = Address(str(host), int(port))

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  # socketserver's
        # A scraper that hung up; what goes wrong with the page is counted there.
        _LOGGER.debug("a request for the metrics broke off")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT
    server_version = "claude-sidecar"
    sys_version = ""

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): ",".join(self.headers.get_all(name, ())) for name in self.headers}
        if "host" in headers and not host_is_ours(headers["host"], self.server.listening):
            self._send(refusal(421, "This server answers to localhost and numeric addresses only.\n"))
        elif path == PATH:
            accept, encoding = headers.get("accept", ""), headers.get("accept-encoding", "")
            self._send(self.server.metrics.answer(self.command, accept, encoding))
        elif path in self.server.paths:
            answer = self.server.console.answer(asked(self.command, path, query, headers))
            if isinstance(answer, Viewer):
                self._live(answer)
            else:
                self._send(answer)
        else:
            self._send(refusal(404, f"There is nothing here; the metrics are at {PATH}, the console is at /.\n"))

    def _send(self, answer: Answer) -> None:
        self._head(answer.status, answer.headers)
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _live(self, viewer: Viewer) -> None:
        try:
            self._head(200, viewer.headers)
            while (event := viewer.next()) is not None:
                self.wfile.write(event)
                if self.server.closing.wait(EVERY):
                    break
        finally:
            viewer.close()

    def _head(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815  # http.server's

    def log_request(self, code: object = "-", size: object = "-") -> None:  # noqa: ARG002  # http.server's
        # Without the query, which may hold the console's token.
        _LOGGER.debug("%s %s %s", self.command, self.path.partition("?")[0], code)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002  # http.server's names
        _LOGGER.debug("a request could not be read")
