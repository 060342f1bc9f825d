"""``process_*`` and ``python_info``, named as every Prometheus client names them, for the pages we serve ourselves.

They are read here, not by prometheus_client, whose import costs a proxy 3 MB and a tenth of its start.
"""

import os
import platform
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidecar.telemetry.families import Family, Kind
from sidecar.telemetry.view import FamilyView

_PROC: Final = Path("/proc")


def _family(name: str, kind: Kind, text: str, labels: tuple[str, ...] = ()) -> Family:
    return Family(name=name, kind=kind, help=text, labels=labels)


_VIRTUAL: Final = _family("process_virtual_memory_bytes", Kind.GAUGE, "Virtual memory size in bytes.")
_RESIDENT: Final = _family("process_resident_memory_bytes", Kind.GAUGE, "Resident memory size in bytes.")
_STARTED: Final = _family(
    "process_start_time_seconds", Kind.GAUGE, "Start time of the process since unix epoch in seconds."
)
_CPU: Final = _family("process_cpu_seconds_total", Kind.COUNTER, "Total user and system CPU time spent in seconds.")
_OPEN: Final = _family("process_open_fds", Kind.GAUGE, "Number of open file descriptors.")
_MOST: Final = _family("process_max_fds", Kind.GAUGE, "Maximum number of open file descriptors.")
_PYTHON: Final = _family(
    "python_info",
    Kind.GAUGE,
    "Python platform information",
    ("version", "implementation", "major", "minor", "patchlevel"),
)


class ProcessMetrics:
    """Reads this process's memory, CPU time, files and Python version; where there is no /proc, the last alone."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._stat: Final = proc / "self" / "stat"
        self._files: Final = proc / "self" / "fd"
        self._booted: Final = _boot_time(proc)
        self._labels: Final = (
            platform.python_version(),
            platform.python_implementation(),
            *platform.python_version_tuple(),
        )

    def collect(self) -> Iterator[FamilyView]:
        """Yield the families as of now."""
        for family, value in self._of_process():
            yield FamilyView(family, values=[((), value)])
        yield FamilyView(_PYTHON, values=[(self._labels, 1.0)])

    def _of_process(self) -> list[tuple[Family, float]]:
        try:
            # The name stands in parentheses, and may hold some; what comes after it is numbers.
            fields = self._stat.read_text().rpartition(")")[2].split()
            # Linux 6.2 and later tell their number as the folder's size; going through thousands takes milliseconds.
            files = self._files.stat().st_size or len(os.listdir(self._files))  # noqa: PTH208  # only the number
        except OSError:
            return []
        if self._booted is None:
            return []
        ticks = os.sysconf("SC_CLK_TCK")
        user, system, started, virtual, resident = (int(fields[at]) for at in (11, 12, 19, 20, 21))
        return [
            (_VIRTUAL, virtual),
            (_RESIDENT, resident * resource.getpagesize()),
            (_STARTED, self._booted + started / ticks),
            (_CPU, (user + system) / ticks),
            (_OPEN, files),
            (_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        ]


def _boot_time(proc: Path) -> float | None:
    # It stays as it is, and on large machines the kernel takes a while to write the rest of that file.
    try:
        lines = (proc / "stat").read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), None)
