"""Processes on a core of their own, and what the kernel says they used."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Final, cast

PROXY_CORE, OTHER_CORE = 0, (os.cpu_count() or 1) - 1
_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_TASKSET: Final = shutil.which("taskset")
# An installer compiles what it installs; this checkout may have been told not to.
_ENVIRON: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Child:
    """One process of these benchmarks."""

    def __init__(
        self, *command: str, core: int, environ: dict[str, str] | None = None, log: Path | None = None
    ) -> None:
        pinned = (_TASKSET, "-c", str(core), *command) if _TASKSET else command
        with nullcontext(None) if log is None else log.open("w") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own commands
                pinned,
                stdin=subprocess.PIPE,
                stdout=output or subprocess.PIPE,
                stderr=output,
                text=True,
                env={**_ENVIRON, **(environ or {})},
            )
        self.pid = self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def tell(self) -> None:
        """Let it go on."""
        stdin = cast("IO[str]", self._process.stdin)
        stdin.write("\n")
        stdin.flush()

    def line(self) -> str:
        """Read a line that it prints."""
        text = cast("IO[str]", self._process.stdout).readline()
        if not text:
            raise SystemExit(f"{self._process.args!r} ended with status {self._process.wait()}")
        return text.strip()

    def stop(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def child(*command: str, core: int, environ: dict[str, str] | None = None, log: Path | None = None) -> Iterator[Child]:
    """Run a process for a while; with ``log``, what it prints goes there."""
    process = Child(*command, core=core, environ=environ, log=log)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def load(**wanted: Any) -> Iterator[Child]:
    """Run a load, which waits where it says that it is ready."""
    command = (sys.executable, "-m", "benchmarks.proxy.load", json.dumps(wanted))
    with child(*command, core=OTHER_CORE) as process:
        yield process


def pids(root: int) -> list[int]:
    """List a process and all that descend from it."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def cpu(root: int) -> float:
    """Give the seconds of CPU time that a process and its children have used, to the nanosecond."""
    total = 0
    for pid in pids(root):
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def kernel_share(root: int) -> tuple[float, float]:
    """Give the seconds spent outside and inside the kernel, to a hundredth."""
    user = system = 0
    for pid in pids(root):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user += int(fields[11])
        system += int(fields[12])
    return user * _TICK, system * _TICK


def memory(root: int) -> float:
    """Give the megabytes that a process and its children hold (resident; shared pages count in each)."""
    total = 0
    for pid in pids(root):
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        total += int(fields["VmRSS"].split()[0])
    return total / 1024
