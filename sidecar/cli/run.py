"""`sidecar run COMMAND...`: run a Python program with every call of its Anthropic clients observed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from sidecar.client.zero_code import VARIABLE

_CHECK: Final = "import sys; sys.exit('sidecar.client.zero_code' not in sys.modules)"
_PATIENCE: Final = 30
_LONGEST_LINE: Final = 512


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Settings come from SIDECAR_* variables and sidecar.toml: see docs/client.md.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(command: tuple[str, ...]) -> NoReturn:
    """Run a Python program with every call of its Anthropic clients observed: no change to its code.

    sidecar run python app.py
    """
    program = shutil.which(command[0])
    if program is None and Path(command[0]).is_file():
        raise _Refusal(f"{command[0]!r} cannot be run by itself: sidecar run python {command[0]}")
    if program is None:
        raise _Refusal(f"there is no command {command[0]!r}: give one that is on PATH, such as python")
    environment = {**os.environ, VARIABLE: "1"}
    interpreter = _interpreter(Path(program))
    if interpreter is not None and not _has_sidecar(interpreter, environment):
        raise _Refusal(
            f"{interpreter} has no claude-sidecar, so nothing would be observed: install it there with\n"
            f"  {interpreter} -m pip install claude-sidecar"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvpe(program, [command[0], *command[1:]], environment)  # noqa: S606  # to run it is what was asked for


def _interpreter(program: Path) -> str | None:
    """Find the Python that will run a program: itself, or the one its first line names; None where that is unknown."""
    if program.name.startswith(("python", "pypy")):
        return str(program)
    try:
        with program.open("rb") as file:
            line = file.readline(_LONGEST_LINE)
    except OSError:
        return None
    if not line.startswith(b"#!"):
        return None
    words = os.fsdecode(line[2:]).split()
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if not words or "python" not in Path(words[0]).name:
        return None
    return shutil.which(words[0])


def _has_sidecar(interpreter: str, environment: dict[str, str]) -> bool:
    """Ask the Python itself whether the hook runs in it."""
    try:
        done = subprocess.run(  # noqa: S603  # the interpreter the user named
            [interpreter, "-c", _CHECK], env=environment, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


class _Refusal(click.ClickException):
    """Nothing was run."""

    exit_code = 2
