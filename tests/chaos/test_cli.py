"""`sidecar chaos` and `sidecar demo` as they are typed."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.chaos.faults import FAULTS, PARAMETERS
from sidecar.chaos.scenario_file import builtin_names
from sidecar.cli import main


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_help_teaches_every_fault_and_parameter() -> None:
    text = _run("chaos", "--help").output
    assert [name for name in (*FAULTS, *PARAMETERS) if name not in text] == []
    assert "529,529,ok" in text


def test_the_list_has_a_line_for_each_scenario() -> None:
    result = _run("chaos", "--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == list(builtin_names())


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--scenario", "calmer"], ["'calmer'", "allowed are calm, flaky-network"]),
        (["--listen", "8790"], ["--listen", "'8790'", "HOST:PORT"]),
        (["--listen", "127.0.0.1:70000"], ["'127.0.0.1:70000'", "65535"]),
        (["--listen", ":80"], ["':80'"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--speed", "0"], ["--speed", "0"]),
        (["--colour", "red"], ["--colour"]),
    ],
)
def test_bad_input_ends_with_2_and_says_what_was_found_and_what_is_allowed(
    arguments: list[str], names: list[str]
) -> None:
    result = _run("chaos", *arguments)
    assert result.exit_code == 2
    assert [name for name in names if name not in result.output] == []


def test_a_bad_file_is_told_whole(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("colour: red\nphases: [{name: p, duration: -1}]\n")
    result = _run("chaos", "--scenario", str(path))
    assert result.exit_code == 2
    assert "colour: unknown key" in result.output
    assert "phases[0].duration: found -1: allowed is a number" in result.output


def test_a_port_in_use_ends_with_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = _run("chaos", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "in use" in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop_and_leaves_nothing_behind(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "sidecar.cli", "chaos", "--listen", "127.0.0.1:0", "--scenario", "instant"]
    command = [sys.executable, "-c", "from sidecar.cli import main; main()", *command[3:]]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{url}/chaos/truth", timeout=10) as answer:  # noqa: S310  # our own
            assert json.load(answer)["attempts"] == []
        process.send_signal(number)
        assert process.wait(20) == 0
        rest, errors = process.stdout.read(), process.stderr.read()
    assert errors == ""
    assert "ANTHROPIC_BASE_URL=" + url in rest
    assert "stopped after 0 requests" in rest
    host, port = url.removeprefix("http://").split(":")
    with socket.create_server((host, int(port))):
        pass
