"""A started program ends when it should: when asked, when killed, and with the process that started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.demo import Process, ProcessError
from tests.support.prometheus import until

# Writes its pid, so that a test can see whether it is gone.
SLEEPER = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
PARENT = """
import pathlib, sys, time
from sidecar.demo import Process
with Process([sys.executable, "-c", sys.argv[2], sys.argv[1]], pathlib.Path(sys.argv[1] + ".log")):
    time.sleep(600)
"""


def pid_in(file: Path) -> int:
    return int(until(lambda: file.exists() and file.read_text(), "the program to write its pid"))


def gone(pid: int) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # Whoever inherits an orphan may be slow to bury it.
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"

    return asked


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pid"


def sleeper(file: Path, code: str = SLEEPER) -> Process:
    return Process([sys.executable, "-c", code, str(file)], file.with_suffix(".log"))


def test_it_runs_until_its_block_ends(file: Path) -> None:
    with sleeper(file) as process:
        pid = pid_in(file)
        os.kill(pid, 0)
    assert process.ended
    assert gone(pid)()


def test_it_is_killed_at_once_when_a_crash_is_wanted(file: Path) -> None:
    with sleeper(file, STUBBORN) as process:
        pid = pid_in(file)
        process.kill()
        assert process.ended
        until(gone(pid), "the killed program to be gone")
        process.kill()  # what is dead stays dead


def test_one_that_does_not_listen_is_killed_after_its_grace(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sidecar.demo.process as module

    monkeypatch.setattr(module, "_KEEPER", module._KEEPER.replace("tenths=100", "tenths=2"))
    with sleeper(file, STUBBORN):
        pid = pid_in(file)
    until(gone(pid), "the stubborn program to be gone")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_process_that_started_it_however_that_ends(how: signal.Signals, file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(file), SLEEPER]) as parent:
        pid = pid_in(file)
        parent.send_signal(how)
        parent.wait()
    until(gone(pid), "the orphan to be gone")


def test_it_is_told_apart_from_the_terminals_interrupt(file: Path) -> None:
    with sleeper(file):
        assert os.getpgid(pid_in(file)) != os.getpgid(0)


def test_one_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; print('the first words'); sys.exit('no such file: x')"
    with (
        Process([sys.executable, "-c", code], tmp_path / "log") as process,
        pytest.raises(ProcessError, match=r"ended with 1; its log .*(?s:.*)  no such file: x"),
    ):
        process.wait_until(lambda: False, 60)


def test_one_that_never_gets_ready_is_told_too(file: Path) -> None:
    with sleeper(file) as process, pytest.raises(ProcessError, match=r"was not ready within 0 s"):
        process.wait_until(lambda: False, 0)


def test_its_environment_is_the_one_given(tmp_path: Path) -> None:
    log = tmp_path / "deeper" / "log"
    with Process([sys.executable, "-c", "import os; print(os.environ['WORD'])"], log, {"WORD": "plain"}) as process:
        until(lambda: process.ended, "the program to end")
    assert log.read_text() == "plain\n"


def test_what_a_program_starts_ends_with_it(file: Path) -> None:
    """Programs are often wrappers, and what they wrap is another process."""
    wrapper = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPER!r}, sys.argv[1]], check=False)"
    with sleeper(file, wrapper):
        pid = pid_in(file)
    until(gone(pid), "the wrapped program to be gone")
