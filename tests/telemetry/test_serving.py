"""The metrics over HTTP: our own server, the WSGI and the ASGI application, which all answer alike."""

import asyncio
import gzip
import http.client
import io
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from sidecar import metrics_asgi_app, metrics_wsgi_app, serve_metrics
from sidecar.telemetry import Telemetry
from sidecar.telemetry.exposition import Format
from tests.telemetry.records import attempt, call

Headers = dict[str, str]
Reply = tuple[int, Headers, bytes]
Ask = Callable[..., Reply]


@pytest.fixture
def telemetry() -> Telemetry:
    telemetry = Telemetry()
    telemetry.attempt(attempt())
    telemetry.call(call())
    return telemetry


def over_http(telemetry: Telemetry) -> Iterator[Ask]:
    with serve_metrics(0, telemetry=telemetry) as served:
        where = urlsplit(served.url)

        def ask(method: str = "GET", path: str = "/metrics", **headers: str) -> Reply:
            connection = http.client.HTTPConnection(str(where.hostname), where.port or 0, timeout=60)
            try:
                connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
                response = connection.getresponse()
                return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
            finally:
                connection.close()

        yield ask


def over_wsgi(telemetry: Telemetry) -> Iterator[Ask]:
    app = metrics_wsgi_app(telemetry)

    def ask(method: str = "GET", path: str = "/metrics", mounted_at: str = "", **headers: str) -> Reply:
        started: list[Any] = []
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": mounted_at, "wsgi.input": io.BytesIO()}
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        body = b"".join(app(environ, lambda status, sent: started.extend((status, sent))))
        return int(started[0].split()[0]), {k.lower(): v for k, v in started[1]}, body

    yield ask


async def _complete(work: Awaitable[None]) -> None:
    await work


def over_asgi(telemetry: Telemetry) -> Iterator[Ask]:
    app = metrics_asgi_app(telemetry)

    def ask(method: str = "GET", path: str = "/metrics", mounted_at: str = "", **headers: str) -> Reply:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "path": mounted_at + path,
            "root_path": mounted_at,
            "headers": raw,
        }
        asyncio.run(_complete(app(scope, receive, send)))
        start, body = sent
        return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body["body"]

    yield ask


SERVED = {"server": over_http, "wsgi": over_wsgi, "asgi": over_asgi}


@pytest.fixture(params=SERVED)
def ask(request: pytest.FixtureRequest, telemetry: Telemetry) -> Iterator[Ask]:
    yield from SERVED[request.param](telemetry)


@pytest.fixture(params=["wsgi", "asgi"])
def ask_app(request: pytest.FixtureRequest, telemetry: Telemetry) -> Iterator[Ask]:
    yield from SERVED[request.param](telemetry)


def test_a_plain_request_gets_text(ask: Ask) -> None:
    status, headers, body = ask()
    assert status == 200
    assert headers["content-type"] == Format.TEXT.value
    assert headers["content-length"] == str(len(body))
    assert b"claude_calls_total{" in body
    assert b"python_info{" in body
    assert b"process_cpu_seconds_total" in body


@pytest.mark.parametrize("form", [Format.OPENMETRICS, Format.PROTOBUF])
def test_a_scraper_gets_the_format_it_asks_for(ask: Ask, form: Format) -> None:
    status, headers, body = ask(accept=form.value.partition("; charset")[0])
    assert (status, headers["content-type"]) == (200, form.value)
    assert body.endswith(b"# EOF\n") == (form is Format.OPENMETRICS)
    assert b"python_info" in body


def test_gzip_is_had_by_asking(ask: Ask) -> None:
    _, headers, body = ask(accept_encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert headers["content-length"] == str(len(body))
    assert b"claude_calls_total{" in gzip.decompress(body)
    assert "content-encoding" not in ask(accept_encoding="gzip;q=0")[1]


def test_head_says_as_much_as_get_without_saying_it(ask: Ask) -> None:
    status, headers, body = ask("HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_page_can_only_be_read(ask: Ask, method: str) -> None:
    status, headers, body = ask(method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert body == b"This page can only be read: use GET or HEAD.\n"


@pytest.mark.parametrize("path", ["/x", "/metrics/x", "/metric", "/../metrics"])
def test_there_is_nothing_anywhere_else(ask: Ask, path: str) -> None:
    status, _, body = ask("GET", path)
    assert status == 404
    assert body.startswith(b"There is nothing here; the metrics are at /metrics")


def test_a_query_does_not_matter(telemetry: Telemetry) -> None:
    for ask in over_http(telemetry):
        assert ask("GET", "/metrics?name[]=up")[0] == 200


@pytest.mark.parametrize("path", ["", "/", "/metrics"])
def test_a_mounted_app_answers_where_it_is_mounted(ask_app: Ask, path: str) -> None:
    assert ask_app("GET", path, mounted_at="/internal/metrics")[0] == 200
    assert ask_app("GET", "/x", mounted_at="/internal/metrics")[0] == 404


def test_without_a_telemetry_the_shared_one_is_served() -> None:
    from sidecar import default_telemetry

    default_telemetry().dropped("shown_to_be_shared")
    with serve_metrics(0) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        connection.request("GET", "/metrics")
        assert b'reason="shown_to_be_shared"' in connection.getresponse().read()
        connection.close()


def test_a_page_that_cannot_be_rendered_is_an_error_and_counted(
    telemetry: Telemetry, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("a secret")

    with monkeypatch.context() as patch:
        patch.setattr(telemetry, "collect", broken)
        status, _, body = ask()
    assert status == 500
    assert b"secret" not in body
    assert telemetry.value("sidecar_internal_errors_total", where="scrape") == 1


def test_a_taken_port_is_said_to_be_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            OSError, match=f"cannot serve metrics on 127.0.0.1:{port} .*: choose a free port, or port 0"
        ):
            serve_metrics(port)


@pytest.mark.parametrize("port", [-1, 65_536, "9464", 9464.0, True])
def test_what_is_no_port_is_told_with_what_would_be(port: Any) -> None:
    with pytest.raises(
        ValueError, match=f"the port is {port!r}; it must be a whole number from 0 .any free one. to 65535"
    ):
        serve_metrics(port)


def test_an_address_that_is_not_this_machines_is_not_blamed_on_the_port() -> None:
    with pytest.raises(OSError, match=r"cannot serve metrics on 192\.0\.2\.1:0 .*: choose an address of this machine"):
        serve_metrics(0, "192.0.2.1")


def test_a_closed_server_is_gone() -> None:
    served = serve_metrics(0)
    served.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port), timeout=60)


def test_it_is_served_over_ipv6_too() -> None:
    with serve_metrics(0, "::1") as served:
        assert served.url == f"http://[::1]:{served.port}/metrics"
        connection = http.client.HTTPConnection("::1", served.port, timeout=60)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_scraper_that_breaks_off_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    with serve_metrics(0) as served:
        for garbage in (b"", b"\x00\xff garbage\r\n\r\n", b"GET /metrics HTTP/1.0\r\n"):
            with socket.create_connection(("127.0.0.1", served.port), timeout=60) as broken:
                broken.sendall(garbage)
                # Resets the connection, rather than ending it in good order.
                broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 200
        connection.close()
    assert "Traceback" not in capfd.readouterr().err


async def test_the_asgi_app_starts_and_stops_with_its_server() -> None:
    messages = iter(["lifespan.startup", "lifespan.shutdown"])
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": next(messages)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    await metrics_asgi_app()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_the_asgi_app_speaks_only_http() -> None:
    with pytest.raises(ValueError, match="over HTTP, not over 'websocket'"):
        await metrics_asgi_app()({"type": "websocket"}, None, None)  # type: ignore[arg-type]
