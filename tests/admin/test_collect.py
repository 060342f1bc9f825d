"""Proves that the collector starts whole or not at all, serves what it receives, and ends without losing any of it."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from sidecar.admin import Address, AdminError
from sidecar.cli import main
from sidecar.collect import Settings, collect
from sidecar.telemetry import Telemetry
from sidecar.telemetry.socket import SocketError, SocketSender
from tests.outlets import samples

LOOPBACK = Address("127.0.0.1", 0)


@contextmanager
def running(*options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start the command; yield it and the address that it announces."""
    command = [str(Path(sys.executable).with_name("sidecar")), "collect", "--admin", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            address = re.search(r"metrics at (http://127\.0\.0\.1:\d+)/metrics", line)
            assert address, line + process.stderr.read()
            yield process, address[1]
        finally:
            process.kill()


def read(url: str) -> str:
    with urlopen(url, timeout=20) as answer:  # noqa: S310  # our own, on loopback
        return str(answer.read().decode())


def send(path: Path, count: int) -> None:
    app = Telemetry()
    sender = SocketSender(app, path)
    app.add_sink(sender)
    for _ in range(count):
        app.call(samples.call())
    sender.close(20)


def test_what_is_sent_to_the_socket_is_on_the_page(path: Path) -> None:
    with running("--socket", str(path)) as (process, url):
        assert read(f"{url}/healthz") == "ok\n"
        assert read(f"{url}/readyz") == "ready\n"
        send(path, 100)
        while 'claude_calls_total{endpoint="messages"' not in (page := read(f"{url}/metrics")):
            assert process.poll() is None
        assert re.search(r'claude_calls_total{.*outcome="ok".*} 100\.?0?\n', page)
        assert "process_resident_memory_bytes" in page
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not path.exists()


def test_it_says_when_its_socket_was_taken_away(path: Path) -> None:
    with running("--socket", str(path)) as (_, url):
        path.unlink()
        with pytest.raises(HTTPError) as refused:
            read(f"{url}/readyz")
        assert refused.value.code == 503
        assert "is gone: restart the sidecar" in refused.value.read().decode()
        refused.value.close()


def test_a_socket_in_use_is_told_with_exit_code_2(path: Path) -> None:
    with running("--socket", str(path)):
        result = CliRunner().invoke(main, ["collect", "--socket", str(path), "--admin", "127.0.0.1:0"])
    assert result.exit_code == 2
    assert f"Error: the socket {path} is in use by another sidecar" in result.output


def test_a_port_in_use_is_told_with_exit_code_2_and_leaves_no_socket_behind(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["collect", "--socket", str(path), "--admin", f"127.0.0.1:{port}"])
    assert result.exit_code == 2
    assert f"Error: cannot listen on 127.0.0.1:{port}: another program listens there; choose another" in result.output
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--admin", "0.0.0.0:9464"], "can be reached from other machines"),
        (["--admin", "nonsense"], "is not an address to listen on"),
        (["--socket-mode", "rw"], "'rw' is not a file mode: write it in octal"),
        (["--socket-mode", "7777"], "'7777' is not a file mode"),
        (["--socket", "/nonexistent/s.sock"], "cannot make the socket /nonexistent/s.sock"),
        (["--socket", "/" + "x" * 200], "choose a shorter one"),
        (["extra"], "unexpected extra argument"),
    ],
)
def test_impossible_settings_are_told_with_exit_code_2(path: Path, options: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["collect", "--socket", str(path), *options])
    assert result.exit_code == 2
    assert told in result.output
    assert not path.exists()


def test_where_there_is_no_uvloop_asyncios_own_loop_serves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[str] = []

    async def probe(_settings: Settings, **_options: object) -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)

    monkeypatch.setattr("sidecar.cli.collect.collect", probe)
    for _ in range(2):
        assert CliRunner().invoke(main, ["collect", "--socket", str(path)]).exit_code == 0
        monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loops == ["uvloop", "asyncio.unix_events"]


def test_the_help_teaches() -> None:
    result = CliRunner().invoke(main, ["collect", "--help"])
    assert result.exit_code == 0
    for word in ("gunicorn", "--socket", "--allow-remote", "/readyz", "SIGTERM", "0600"):
        assert word in result.output


async def start(settings: Settings, telemetry: Telemetry) -> "asyncio.Task[None]":
    started = asyncio.Event()
    task = asyncio.create_task(collect(settings, telemetry=telemetry, started=lambda _path, _admin: started.set()))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return task


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_sent_before_the_end_is_counted(path: Path, number: int) -> None:
    telemetry = Telemetry()

    async def scenario() -> None:
        task = await start(Settings(admin=LOOPBACK, socket=path), telemetry)
        send(path, 500)  # while the loop is held, so nothing is read yet
        assert telemetry.value("claude_calls_total") == 0
        os.kill(os.getpid(), number)
        await task

    asyncio.run(scenario())
    assert telemetry.value("claude_calls_total") == 500
    assert not path.exists()


async def test_the_event_loops_lag_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry, told = Telemetry(), asyncio.Event()
    monkeypatch.setattr(telemetry, "event_loop_lag", lambda _seconds: told.set())
    task = await start(Settings(admin=LOOPBACK, socket=path), telemetry)
    await asyncio.wait_for(told.wait(), 20)
    os.kill(os.getpid(), signal.SIGTERM)
    await task


def test_a_collector_that_cannot_start_raises_and_frees_everything(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AdminError):
        asyncio.run(collect(Settings(admin=Address("127.0.0.1", taken.getsockname()[1]), socket=path)))
    path.write_text("in the way")
    with pytest.raises(SocketError):
        asyncio.run(collect(Settings(admin=LOOPBACK, socket=path)))
    path.unlink()
    modes: list[int] = []

    async def scenario() -> None:
        def started(path: Path, _admin: Address) -> None:
            modes.append(path.stat().st_mode & 0o777)
            task.cancel()

        task = asyncio.create_task(collect(Settings(admin=LOOPBACK, socket=path, socket_mode=0o660), started=started))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert modes == [0o660]
    assert not path.exists()
