"""The console in both servers: the event loop's, and the one with threads."""

import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidecar import serve_metrics
from sidecar.admin import Address, AdminError, open_console
from sidecar.admin import connection as limits
from sidecar.console import Token
from sidecar.telemetry import Telemetry
from tests.console.simulated import served
from tests.outlets import samples
from tests.support.prometheus import until

SECRET = "correct-horse-battery"  # noqa: S105  # of this test


@contextmanager
def loop_server(telemetry: Telemetry, host: str = "127.0.0.1") -> Iterator[int]:
    """Run the admin server in a loop of its own."""
    console = open_console(telemetry, Address(host, 0), mode="collect")
    with served(console, telemetry, host) as url:
        yield int(url.rpartition(":")[2])


@contextmanager
def thread_server(telemetry: Telemetry, host: str = "127.0.0.1") -> Iterator[int]:
    with serve_metrics(0, host, telemetry=telemetry) as served:
        yield served.port


SERVERS = {"loop": loop_server, "threads": thread_server}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@contextmanager
def get(
    port: int, path: str, method: str = "GET", host: str = "localhost", **headers: str
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        sent = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=sent)
        with connection.getresponse() as response:  # which else keeps the connection when that is closed
            yield response
    finally:
        connection.close()


def status_of(port: int, path: str, **options: str) -> int:
    with get(port, path, **options) as response:
        return response.status


def event(response: http.client.HTTPResponse) -> dict[str, object]:
    while not (line := response.readline()).startswith(b"data: "):
        assert line, "the stream ended"
    document = json.loads(line.removeprefix(b"data: "))
    assert isinstance(document, dict)
    return document


def test_the_page_its_files_and_the_document_are_there(server: str, telemetry: Telemetry) -> None:
    with SERVERS[server](telemetry) as port:
        telemetry.call(samples.call())
        with get(port, "/") as page:
            assert page.status == 200
            assert b"<!doctype html>" in page.read()
        for path in ("/console/app.js", "/console/uplot.js", "/metrics"):
            assert status_of(port, path) == 200
        with get(port, "/api/v1/status?window=300") as response:
            document = json.load(response)
        assert document["calls"]["total"] == 1
        assert document["sidecar"]["mode"] == {"loop": "collect", "threads": "client"}[server]
        assert status_of(port, "/console/none.js") == 404
        assert status_of(port, "/console/../console.py") == 404
        assert status_of(port, "/", method="POST") == 405
        with get(port, "/api/v1/status", method="HEAD") as head:
            assert (head.status, head.read()) == (200, b"")


def test_events_come_live(server: str, telemetry: Telemetry) -> None:
    with SERVERS[server](telemetry) as port, get(port, "/api/v1/events") as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert event(stream)["series"] == []
        telemetry.call(samples.call())
        until(lambda: event(stream)["series"], "the call")


def test_a_browser_that_leaves_makes_room(server: str, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.console.console.MAX_VIEWERS", 1)
    with SERVERS[server](telemetry) as port:
        with get(port, "/api/v1/events") as stream:
            event(stream)
            assert status_of(port, "/api/v1/events") == 503
        until(lambda: status_of(port, "/api/v1/events") == 200, "the place of who left")


def test_a_server_that_stops_ends_its_streams_in_good_order(server: str, telemetry: Telemetry) -> None:
    connection = None
    with SERVERS[server](telemetry) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/api/v1/events")
        stream = connection.getresponse()
        event(stream)
    stream.read()  # raises when the stream was cut rather than ended
    connection.close()


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/api/v1/events", "/metrics", "/console/app.js"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "x"])
def test_a_name_that_was_rebound_to_this_machine_is_not_answered(server: str, path: str, host: str) -> None:
    with SERVERS[server](Telemetry()) as port:
        assert status_of(port, path, host=host) == 421


@pytest.mark.parametrize("host", ["localhost:9464", "127.0.0.1", "[::1]:9464", "app.localhost"])
def test_this_machine_is_answered_under_its_own_names(server: str, host: str) -> None:
    with SERVERS[server](Telemetry()) as port:
        assert status_of(port, "/api/v1/status", host=host) == 200


def test_other_machines_need_the_token_but_never_for_the_metrics(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = "0.0.0.0"  # noqa: S104  # what is being tested
    with SERVERS[server](Telemetry(), everybody) as port:
        assert [status_of(port, path) for path in ("/", "/api/v1/status", "/api/v1/events")] == [403, 403, 403]
        assert status_of(port, "/metrics", host="scraper.example") == 200
    monkeypatch.setenv("SIDECAR_CONSOLE_TOKEN", SECRET)
    with SERVERS[server](Telemetry(), everybody) as port:
        assert [status_of(port, path) for path in ("/", "/api/v1/status", "/api/v1/events")] == [401, 401, 401]
        assert status_of(port, "/api/v1/status", Authorization=f"Bearer {SECRET}") == 200
        with get(port, f"/?token={SECRET}", host="team.example") as welcome:
            cookie = str(welcome.headers["Set-Cookie"]).partition(";")[0]
        assert status_of(port, "/", host="team.example", Cookie=cookie) == 200
        open_paths = ["/metrics"] + (["/healthz", "/readyz"] if server == "loop" else [])
        assert {status_of(port, path) for path in open_paths} == {200}


def test_the_token_is_in_no_log(
    server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIDECAR_CONSOLE_TOKEN", SECRET)
    caplog.set_level(logging.DEBUG)
    with SERVERS[server](Telemetry()) as port:
        assert status_of(port, f"/?token={SECRET}") == 200
        assert status_of(port, f"/?token={SECRET}x") == 401
        assert status_of(port, "/api/v1/status", Authorization=f"Bearer {SECRET}") == 200
        with socket.create_connection(("127.0.0.1", port), timeout=60) as broken:
            broken.sendall(f"GET /?token={SECRET} HTTP/9.9 nonsense\r\n\r\n".encode())
            broken.recv(1000)
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


def test_a_token_that_cannot_be_used_stops_the_start_without_being_shown(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_CONSOLE_TOKEN", "tooshort")
    with (
        pytest.raises(AdminError, match="the console's token has 8 characters") as refused,
        SERVERS[server](Telemetry()),
    ):
        pass
    assert "tooshort" not in str(refused.value)


def test_a_failed_start_watches_nothing(telemetry: Telemetry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="cannot serve metrics"):
        serve_metrics(taken.getsockname()[1], telemetry=telemetry)
    assert not telemetry._sinks


def test_a_closed_server_watches_no_more(telemetry: Telemetry) -> None:
    with serve_metrics(0, telemetry=telemetry):
        assert telemetry._sinks
    assert not telemetry._sinks


def test_a_client_that_takes_nothing_is_left(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALLED_FOR", 0.05)
    monkeypatch.setattr("sidecar.console.console.MAX_VIEWERS", 1)
    monkeypatch.setattr("sidecar.console.EVERY", 0.0)
    for _ in range(300):
        telemetry.call(samples.call())
    with loop_server(telemetry) as port, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 1 and status_of(port, "/api/v1/events") == 200, "its place")


def test_importing_the_client_loads_no_console() -> None:
    import subprocess
    import sys

    code = "import sidecar, sys; sidecar.install, sidecar.configure; print([m for m in sys.modules if 'console' in m])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_token_says_nothing_of_itself() -> None:
    assert SECRET not in f"{Token(SECRET)!r}{Token(SECRET).cookie}"
