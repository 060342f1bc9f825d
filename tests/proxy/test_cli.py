"""The command itself, in a process of its own, against the fake API."""

import json
import signal
import socket
import stat
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecar.chaos import Chaos, chaos_server
from sidecar.cli import main
from tests.proxy.processes import QUESTION, SIDECAR, Sidecar, sidecar


def test_it_says_where_it_listens_and_what_to_set_and_then_everything_works() -> None:
    with chaos_server() as chaos, sidecar(chaos.url) as proxy:
        assert f"for {chaos.url}" in proxy.lines[0]
        assert proxy.lines[1].split() == ["use", "it:", "export", f"ANTHROPIC_BASE_URL={proxy.urls[0]}"]
        assert proxy.page("/healthz") == (200, "ok\n")
        proxy.until(lambda: proxy.page("/readyz") == (200, "ready\n"))
        assert proxy.ask(x_stainless_retry_count="0") == 200
        assert proxy.metric("claude_calls_total", outcome="ok", model="claude-sonnet-5", source="proxy") == 1
        assert proxy.stop() == 0


def test_it_never_loads_what_it_does_not_need(tmp_path: Path) -> None:
    code = (  # what measures coverage has loaded modules of its own before
        "import sys; before = set(sys.modules); import sidecar.cli; "
        "sidecar.cli.main(['proxy', '--check'], standalone_mode=False); print(*set(sys.modules) - before)"
    )
    python = str(Path(SIDECAR).with_name("python"))
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    loaded = done.stdout.split()
    assert "sidecar.proxy.server" in loaded
    for heavy in ("anthropic", "opentelemetry", "prometheus_client", "rich", "yaml", "sidecar.chaos", "sidecar.client"):
        assert heavy not in loaded
    assert "sidecar.telemetry.socket" not in loaded  # only several workers, or a Unix socket, need it
    for seldom in ("sidecar.policy", "sidecar.proxy.protect", "sidecar.console.status", "sidecar.slo", "tomllib"):
        assert seldom not in loaded
    for expensive in ("email.utils", "importlib.resources", "random", "secrets", "tempfile"):
        assert expensive not in loaded  # each brings more with it than the one line it would be used for


def test_its_help_teaches() -> None:
    told = CliRunner().invoke(main, ["proxy", "--help"]).output
    for word in (
        "ANTHROPIC_BASE_URL=http://127.0.0.1:8788",
        "/readyz",
        "--workers",
        "unix:/",
        "SIGTERM",
        "--allow-remote",
    ):
        assert word in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--listen", "nonsense"], "listen is ['nonsense']; it must be HOST:PORT"),
        (["--listen", "0.0.0.0:0"], "allow it with --allow-remote"),
        (["--upstream", "nonsense"], "upstream is 'nonsense'"),
        (["--config", "/nowhere.toml"], "/nowhere.toml: there is no such file"),
        (["--listen", "unix:/nowhere/x.sock"], "cannot listen on unix:/nowhere/x.sock: No such file"),
        (["--listen", "192.0.2.1:1", "--allow-remote"], "cannot listen on 192.0.2.1:1: this machine does not have"),
    ],
)
def test_impossible_settings_are_told_with_exit_code_2(options: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["proxy", "--admin", "127.0.0.1:0", *options])
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("option", ["--listen", "--admin"])
def test_an_address_in_use_is_told_with_exit_code_2_and_leaves_nothing_behind(option: str, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = ["--listen", f"unix:{path}", "--admin", "127.0.0.1:0", option, address]
        result = CliRunner().invoke(main, ["proxy", *options])
    assert result.exit_code == 2
    assert f"Error: cannot listen on {address}: another program listens there; choose another" in result.output
    assert not path.exists()


def test_a_configuration_can_be_checked_without_starting(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[proxy]\nworkers = 2")
    assert (
        CliRunner().invoke(main, ["proxy", "--check", "--config", str(path)]).output
        == "The configuration can be used.\n"
    )
    path.write_text("[proxy]\nworkers = 'two'\nlimit = 3")
    result = CliRunner().invoke(main, ["proxy", "--check", "--config", str(path)])
    assert result.exit_code == 2
    assert "workers is 'two'" in result.output
    assert "limit: there is no such setting" in result.output


def streaming(proxy_url: str, chaos: Chaos) -> HTTPConnection:
    """Ask for a stream that stalls after it has begun, and return once it has."""
    chaos.enqueue("stall;after=1;s=600")
    connection = HTTPConnection(proxy_url.removeprefix("http://"), timeout=30)
    body = json.dumps({**QUESTION, "stream": True})
    connection.request("POST", "/v1/messages", body, {"x-api-key": "k", "anthropic-version": "2023-06-01"})
    return connection


def refuses(proxy: Sidecar) -> bool:
    connection = proxy.client()
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


def test_on_sigterm_what_is_under_way_may_end_and_new_work_is_refused() -> None:
    """A slow answer is whole, /readyz says why not, new connections are refused, and the exit is clean."""
    with chaos_server() as chaos, sidecar(chaos.url, "--access-log") as proxy:
        proxy.until(lambda: proxy.page("/readyz")[0] == 200)
        slow = proxy.client()
        chaos.enqueue("drip;bytes=1500;s=0.15")
        body = json.dumps({**QUESTION, "stream": True})
        slow.request("POST", "/v1/messages", body, {"x-api-key": "k", "anthropic-version": "2023-06-01"})
        answer = slow.getresponse()
        proxy.tell(signal.SIGTERM)
        proxy.line("draining")
        assert proxy.page("/readyz") == (503, "stopping: the proxy is draining\n")
        proxy.until(lambda: refuses(proxy))
        assert b"message_stop" in answer.read()
        slow.close()
        assert proxy.ended() == 0
        assert any("outcome=ok" in line for line in proxy.lines)
        assert not any("cut off" in line for line in proxy.lines)


def test_what_takes_longer_than_the_drain_is_cut_off_and_that_is_said() -> None:
    with chaos_server() as chaos, sidecar(chaos.url, "--drain-seconds", "0.1") as proxy:
        connection = streaming(proxy.urls[0], chaos)
        connection.getresponse()
        assert proxy.stop() == 0
        assert any("connections were cut off connections=1 after_seconds=0.1" in line for line in proxy.lines)
        connection.close()


def test_a_second_signal_ends_it_at_once() -> None:
    with chaos_server() as chaos, sidecar(chaos.url, "--drain-seconds", "600") as proxy:
        connection = streaming(proxy.urls[0], chaos)
        connection.getresponse()
        proxy.tell(signal.SIGTERM)
        proxy.line("draining")
        proxy.tell(signal.SIGTERM)
        assert proxy.ended() == -signal.SIGTERM
        connection.close()


class _Unix(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def test_a_unix_socket_serves_takes_over_a_dead_ones_file_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    with (
        chaos_server() as chaos,
        sidecar(chaos.url, "--listen", f"unix:{path}", environ={"SIDECAR_SOCKET_MODE": "0660"}) as proxy,
    ):
        assert proxy.urls == [f"unix:{path}"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        connection = _Unix(path)
        assert proxy.ask(on=connection) == 200
        connection.close()
        second = CliRunner().invoke(main, ["proxy", "--admin", "127.0.0.1:0", "--listen", f"unix:{path}"])
        assert (second.exit_code, "is in use by another sidecar" in second.output) == (2, True)
        assert proxy.stop() == 0
    assert not path.exists()


def test_a_file_that_is_no_dead_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    result = CliRunner().invoke(main, ["proxy", "--admin", "127.0.0.1:0", "--listen", f"unix:{path}"])
    assert (result.exit_code, "exists and is not a socket" in result.output) == (2, True)
    assert path.read_text() == "data"
