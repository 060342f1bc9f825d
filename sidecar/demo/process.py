"""A program that runs until it is stopped, and never longer than the process that started it.

Even when that one is killed: a small shell waits at the other end of a pipe, sees it close, and ends the program. It
needs neither root nor Linux, and unlike a death signal does not hang on which thread did the starting.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sidecar.demo.interrupt import pause

__all__ = ["Process", "ProcessError"]

_GRACE: Final = 10
"""Seconds a program has between being asked to end and being ended."""
_GLANCE: Final = 0.05
_TOLD: Final = 20
"""Lines of the log that an error repeats."""

# The program and whatever it starts are one group, told together; the two shells that keep it ignore what tells it.
_KEEPER: Final = f"""\
exec 3<&0 </dev/null
trap '' TERM
(trap - TERM; exec "$@") 3<&- &
program=$!
(
  read -r _ <&3
  kill 0
  tenths={_GRACE * 10}
  while kill -0 "$program" && [ "$tenths" -gt 0 ]; do sleep 0.1; tenths=$((tenths - 1)); done
  kill -9 0
) 2>/dev/null &
keeper=$!
wait "$program"
code=$?
kill -9 "$keeper" 2>/dev/null
kill 0
exit "$code"
"""


class ProcessError(RuntimeError):
    """A program ended by itself, or did not become ready in time; tells the end of its log."""


class Process:
    """A running program, its output in a file; ``with`` stops it at the end of the block."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name: Final = Path(command[0]).name
        self.log: Final = log
        pause(0)  # who has asked to end wants nothing more started
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._shell = subprocess.Popen(  # noqa: S603  # the caller's own words, none of them parsed by the shell
                ["/bin/sh", "-c", _KEEPER, "keeper", *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                # A terminal's Ctrl-C is ours: we then stop what we started, in our own order.
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        """Whether the program is gone, whoever ended it."""
        return self._shell.poll() is not None

    def wait_until(self, ready: Callable[[], bool], patience: float) -> None:
        """Wait until ``ready`` says so; raise `ProcessError` when the program ends first, or takes too long."""
        give_up = time.monotonic() + patience
        while not ready():
            if self.ended:
                raise ProcessError(f"{self.name} ended with {self._shell.returncode}; {self._last_words()}")
            if time.monotonic() > give_up:
                raise ProcessError(f"{self.name} was not ready within {patience:g} s; {self._last_words()}")
            pause(_GLANCE)

    def stop(self) -> None:
        """Ask the program to end, and wait until it has; one that does not is killed."""
        assert self._shell.stdin is not None  # noqa: S101  # it was asked for
        self._shell.stdin.close()
        self._reap()

    def kill(self) -> None:
        """End the program at once, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _reap(self) -> None:
        # The shell outlives the program and its grace. What the program started may still be about to write something.
        self._shell.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left; only dead ones are (macOS)
            os.killpg(self._shell.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TOLD:]
        return f"its log {self.log} ends:\n" + "\n".join(f"  {line}" for line in lines)
