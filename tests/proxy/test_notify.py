"""What systemd is told, and the sockets it passes: with the sockets a systemd would use."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from sidecar.chaos import chaos_server
from sidecar.proxy.listening import ListenError, passed_by_systemd
from sidecar.proxy.notify import Notifier
from tests.proxy.processes import PATIENCE, sidecar


class Systemd:
    """The listening end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(PATIENCE)

    def hear(self) -> list[str]:
        return self.socket.recv(1000).decode().splitlines()

    def close(self) -> None:
        self.socket.close()


def test_it_tells_of_its_start_reload_and_end(tmp_path: Path) -> None:
    systemd = Systemd(str(tmp_path / "n"))
    with chaos_server() as chaos, sidecar(chaos.url, environ={"NOTIFY_SOCKET": str(tmp_path / "n")}) as proxy:
        assert systemd.hear() == ["READY=1", "STATUS=taking clients"]
        proxy.tell(signal.SIGHUP)
        reloading, moment = systemd.hear()
        assert (reloading, moment.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
        assert systemd.hear() == ["READY=1", "STATUS=taking clients"]
        assert proxy.stop() == 0
        assert systemd.hear()[0] == "STOPPING=1"
    systemd.close()


def test_who_asks_for_the_status_hears_that_a_reload_was_refused(tmp_path: Path) -> None:
    """A reload cannot fail in systemd's eyes: its status is where an operator looks next."""
    systemd = Systemd(str(tmp_path / "n"))
    file = tmp_path / "sidecar.toml"
    environ = {"NOTIFY_SOCKET": str(tmp_path / "n"), "SIDECAR_CONFIG": str(file)}
    file.write_text("")
    with sidecar("http://127.0.0.1:9", environ=environ) as proxy:
        assert systemd.hear() == ["READY=1", "STATUS=taking clients"]
        for content, status in (("[proxy]\nlisten = 5\n", "taking clients; the new"), ("", "taking clients")):
            file.write_text(content)
            proxy.tell(signal.SIGHUP)
            assert systemd.hear()[0] == "RELOADING=1"
            ready, said = systemd.hear()
            assert (ready, said[: len("STATUS=") + len(status)]) == ("READY=1", f"STATUS={status}")
            assert (said == "STATUS=taking clients") == (not content)
        assert proxy.stop() == 0
    systemd.close()


async def test_its_watchdog_hears_of_it_again_and_again() -> None:
    name = f"claude-sidecar-test-{os.getpid()}"
    systemd = Systemd(f"\0{name}")
    environ = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "2000", "WATCHDOG_PID": str(os.getpid())}
    task = asyncio.create_task(Notifier(environ).keep_alive())
    for _ in range(3):
        assert await asyncio.to_thread(systemd.hear) == ["WATCHDOG=1"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    systemd.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/n"},
        {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
)
async def test_without_a_watchdog_it_says_nothing(environ: dict[str, str]) -> None:
    await Notifier(environ).keep_alive()


def test_a_systemd_that_is_gone_is_nothing_to_fail_for(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")
    Notifier({}).ready("x")


WITH_SOCKET = """
import os, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
os.dup2(sock.fileno(), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_it_listens_on_the_socket_that_systemd_passes(tmp_path: Path) -> None:
    launcher = tmp_path / "launcher"
    with socket.create_server(("127.0.0.1", 0)) as listening, chaos_server() as chaos:
        port = listening.getsockname()[1]
        launcher.write_text(f"#!{sys.executable}\n{WITH_SOCKET}")
        prefix = [sys.executable, str(launcher), str(listening.fileno())]
        with sidecar(chaos.url, "--listen", "127.0.0.1:1", prefix=prefix, pass_fds=(listening.fileno(),)) as proxy:
            assert proxy.urls == [f"http://127.0.0.1:{port}"]
            assert proxy.ask() == 200
            assert proxy.stop() == 0


def test_a_unix_socket_of_systemds_may_have_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(f"\0claude-sidecar-test-{os.getpid()}")
        listening.listen()
        monkeypatch.setattr("sidecar.proxy.listening._FIRST_PASSED", os.dup(listening.fileno()))
        [place] = passed_by_systemd({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
        assert place.url == f"unix:@claude-sidecar-test-{os.getpid()}"
        place.close()


def test_what_was_not_passed_to_this_process_is_not_taken() -> None:
    assert passed_by_systemd({"LISTEN_FDS": "1", "LISTEN_PID": "1"}) == []
    assert passed_by_systemd({"LISTEN_PID": str(os.getpid())}) == []


def test_a_descriptor_that_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        one, other = socket.socketpair(socket.AF_UNIX, kind)
        with one, other:
            monkeypatch.setattr("sidecar.proxy.listening._FIRST_PASSED", os.dup(one.fileno()))
            with pytest.raises(ListenError, match="is not a listening stream socket"):
                passed_by_systemd(environ)
    monkeypatch.setattr("sidecar.proxy.listening._FIRST_PASSED", 987)
    with pytest.raises(ListenError, match="descriptor 987"):
        passed_by_systemd(environ)
