"""What scripts that watch a real `sidecar proxy` in front of `sidecar chaos` share: start both, look from outside."""

import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.demo import Process
from sidecar.demo.loopback import opened
from sidecar.demo.own import OWN
from sidecar.demo.pages import samples

_PATIENCE: Final = 30
_LOCAL, _REMOTE, _STATE, _INODE = 1, 2, 3, 9
"""The columns of /proc/net/tcp."""
_OPEN: Final = ("01", "08")
"""Established, and closed by the client alone."""
_CHAOS_SAYS: Final = r"on (http://\S+)"
_PROXY_SAYS: Final = r"ANTHROPIC_BASE_URL=(http://\S+)[\s\S]*http://(127\.0\.0\.1:\d+)/metrics"
_SCENARIO: Final = """
summary = "{summary}"
[defaults]
latency = {{ kind = "lognormal", median = 0.05, p99 = 0.4 }}
tokens_per_second = {{ kind = "uniform", low = 200, high = 400 }}
output_tokens = {{ kind = "lognormal", median = 40, p99 = 200 }}
[[phases]]
name = "storm"
duration = 3600
[phases.mix]
{mix}
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A sidecar's ``/metrics`` at a moment."""

    text: str

    def total(self, family: str, **labels: str) -> float:
        """Add up a family's series that have these labels."""
        return sum(
            each.value for each in samples(self.text) if each.name == family and labels.items() <= each.labels.items()
        )


def scenario(home: Path, summary: str, mix: Mapping[str, int]) -> Path:
    """Write a scenario of short answers and these faults by weight."""
    path = home / "storm.toml"
    faults = "\n".join(f'"{fault}" = {weight}' for fault, weight in mix.items())
    path.write_text(_SCENARIO.format(summary=summary, mix=faults))
    return path


def get(url: str) -> str:
    """Read a page of ours."""
    with opened(url, _PATIENCE) as answer:
        text: str = answer.read().decode()
        return text


def chaos(home: Path, name: str, story: Path | str, listen: str = "127.0.0.1:0") -> tuple[Process, str]:
    """Start the fake API; return it and its URL."""
    command = ("chaos", "--listen", listen, "--scenario", str(story))
    process, (url,) = _running(command, home / f"{name}.log", _CHAOS_SAYS)
    return process, url


def proxy(
    home: Path, name: str, upstream: str, *options: str, listen: str = "127.0.0.1:0", admin: str = "127.0.0.1:0"
) -> tuple[Process, str, str]:
    """Start the proxy by an empty configuration in ``home``; return it, its URL, and its admin server's address."""
    config = _config(home)
    config.write_text("")
    command = ("proxy", "--config", str(config), "--upstream", upstream, "--listen", listen, "--admin", admin)
    process, (url, address) = _running((*command, *options), home / f"{name}.log", _PROXY_SAYS)
    return process, url, address


def process_id(home: Path) -> int:
    """Find the proxy itself, or its supervisor: what was started is the shell that keeps it."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
            if words[:1] == [sys.executable.encode()] and b"proxy" in words and str(_config(home)).encode() in words:
                return int(folder.name)
    raise SystemExit("the proxy is not running")


def open_files(pid: int) -> int:
    """Count a process's descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, with all its threads: the last one closes what they have open."""
    folder = Path(f"/proc/{pid}")
    try:
        state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z" and len(list((folder / "task").iterdir())) == 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def connections(url: str, pid: int | None = None) -> int:
    """Count the connections that a server has open, or that a process has to it."""
    port = f":{int(url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    if pid is None:
        return sum(row[_LOCAL].endswith(port) and row[_STATE] in _OPEN for row in rows)
    theirs = {f"socket:[{row[_INODE]}]" for row in rows if row[_REMOTE].endswith(port)}
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(descriptor.readlink()) in theirs
    return found


def _config(home: Path) -> Path:
    return home / "sidecar.toml"


def _running(command: tuple[str, ...], log: Path, announced: str) -> tuple[Process, tuple[str, ...]]:
    """Start one of our commands and read where it listens."""
    process = Process([*OWN, *command], log)
    try:
        process.wait_until(lambda: re.search(announced, process.log.read_text()) is not None, _PATIENCE)
    except BaseException:
        process.stop()
        raise
    found = re.search(announced, process.log.read_text())
    assert found is not None  # noqa: S101  # it was just there
    return process, found.groups()
