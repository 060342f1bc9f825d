"""Programs that do not know of us: `sidecar run`, its hook, and OpenTelemetry's own launcher."""

import os
import shutil
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import pytest

from sidecar.chaos import Chaos

BIN = Path(sys.executable).parent

PROGRAM = """
    import sys
    before = sorted(name for name in sys.modules if name.startswith("sidecar.client"))
    import anthropic
    client = anthropic.Anthropic(base_url=sys.argv[1], api_key="k")
    ask = {"model": "claude-sonnet-5-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
    client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        stream.until_done()
    import sidecar
    print(before, sidecar.default_telemetry().value("claude_calls_total", outcome="ok") + 0.0)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return path


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SIDECAR_", "OTEL_"))}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, cwd=cwd, env=env | environment
    )


HOOKED = "['sidecar.client', 'sidecar.client.patches', 'sidecar.client.zero_code']"


@pytest.mark.parametrize("flags", [[], ["-E"], ["-I"]])
def test_sidecar_run_observes_whatever_flags_python_is_given(flags: list[str], program: Path, chaos: Chaos) -> None:
    done = run(BIN / "sidecar", "run", sys.executable, *flags, program, chaos.url, cwd=program.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"{HOOKED} 2.0"


def test_without_it_the_hook_does_nothing(program: Path, chaos: Chaos) -> None:
    for environment in ({}, {"SIDECAR_RUN": "0"}):
        done = run(sys.executable, program, chaos.url, cwd=program.parent, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith(" 0.0")


def test_a_sitecustomize_of_the_users_own_runs_too(program: Path, chaos: Chaos, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('mine')")
    done = run(BIN / "sidecar", "run", sys.executable, program, chaos.url, cwd=program.parent, PYTHONPATH=str(tmp_path))
    assert done.stdout.splitlines()[-2:] == ["mine", f"{HOOKED} 2.0"], done.stderr


def test_a_scripts_own_interpreter_is_asked(program: Path, chaos: Chaos) -> None:
    script = program.with_name("tool")
    script.write_text(f"#!{sys.executable}\n{program.read_text()}")
    script.chmod(0o755)
    done = run(BIN / "sidecar", "run", script, chaos.url, cwd=program.parent)
    assert done.stdout.strip() == f"{HOOKED} 2.0", done.stderr


def test_children_are_observed_too(program: Path, chaos: Chaos) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, {str(program)!r}, {chaos.url!r}], check=True)"
    done = run(BIN / "sidecar", "run", sys.executable, "-c", child, cwd=program.parent)
    assert done.stdout.strip() == f"{HOOKED} 2.0", done.stderr


def test_the_exit_status_is_the_programs(tmp_path: Path) -> None:
    done = run(BIN / "sidecar", "run", sys.executable, "-c", "import sys; sys.exit(7)", cwd=tmp_path)
    assert done.returncode == 7


def test_a_python_without_us_is_refused_with_what_to_do(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    bare = tmp_path / "bare" / "bin" / "python"
    script = tmp_path / "tool"
    script.write_text(f"#!/usr/bin/env -S {bare}\n")
    script.chmod(0o755)
    for target in (bare, script):
        done = run(BIN / "sidecar", "run", target, "-c", "print('ran')", cwd=tmp_path)
        assert done.returncode == 2
        assert f"{bare} has no claude-sidecar" in done.stderr
        assert f"{bare} -m pip install claude-sidecar" in done.stderr
        assert done.stdout == ""


def test_a_command_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = run(BIN / "sidecar", "run", "no-such-program", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no command 'no-such-program'" in done.stderr


def test_a_script_that_cannot_be_run_by_itself_is_told_how_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("print('hi')")
    for command in ("app.py", "./app.py"):
        done = run(BIN / "sidecar", "run", command, "--port", "1", cwd=tmp_path)
        assert done.returncode == 2
        assert f"{command!r} cannot be run by itself: sidecar run python {command}" in done.stderr
        assert "hi" not in done.stdout


def test_what_is_no_python_is_run_as_it_is(tmp_path: Path) -> None:
    script = tmp_path / "start.sh"
    script.write_text('#!/bin/sh\necho "$SIDECAR_RUN $1"\n')
    script.chmod(0o755)
    assert run(BIN / "sidecar", "run", script, "--help", cwd=tmp_path).stdout == "1 --help\n"
    assert run(BIN / "sidecar", "run", shutil.which("echo") or "", "hi", cwd=tmp_path).stdout == "hi\n"


def test_settings_that_cannot_be_used_are_told_and_the_program_goes_on(program: Path, chaos: Chaos) -> None:
    done = run(
        BIN / "sidecar",
        "run",
        sys.executable,
        program,
        chaos.url,
        cwd=program.parent,
        SIDECAR_PROFILE="fast",
        SIDECAR_METRICS_PORT="x",
    )
    assert done.returncode == 0
    assert done.stdout.strip() == f"{HOOKED} 2.0"
    assert "SIDECAR_PROFILE is 'fast'; it must be interactive" in done.stderr
    assert "SIDECAR_METRICS_PORT is 'x'" in done.stderr


def test_opentelemetrys_launcher_finds_us(program: Path, chaos: Chaos) -> None:
    done = run(
        BIN / "opentelemetry-instrument",
        sys.executable,
        program,
        chaos.url,
        cwd=program.parent,
        OTEL_TRACES_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(" 2.0")
    assert "rror" not in done.stderr


def test_an_instrumentor_can_be_undone() -> None:
    import anthropic

    from sidecar.client.otel import SidecarInstrumentor

    before = anthropic._base_client.SyncAPIClient.request
    instrumentor = SidecarInstrumentor()
    assert instrumentor.instrumentation_dependencies() == ("anthropic >= 2",)
    instrumentor.instrument(tracer_provider=None)
    assert anthropic._base_client.SyncAPIClient.request is not before
    instrumentor.uninstrument()
    assert anthropic._base_client.SyncAPIClient.request is before
