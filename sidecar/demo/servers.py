"""Starts a real Prometheus and a real Alertmanager on loopback, waits until they answer, and stops them again."""

import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.demo.loopback import opened
from sidecar.demo.process import Process
from sidecar.demo.programs import find

__all__ = ["Server", "alertmanager", "free_port", "prometheus"]

_HOST: Final = "127.0.0.1"
_NATIVE: Final = "native-histograms"
_PATIENCE: Final = 60.0
"""Seconds a server has to become ready, on a machine that does much else."""

_SILENCE: Final = 2.0
"""Seconds after which one that says nothing is taken as not ready: it is asked again."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    process: Process

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{_HOST}:{self.port}"

    @property
    def url(self) -> str:
        """Where its pages are."""
        return f"http://{self.address}"

    def ask(self, path: str, **parameters: str | float) -> Any:
        """Get a page of its API as decoded JSON."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        with opened(f"{self.url}{path}{query}", _PATIENCE) as answer:
            return json.load(answer)

    def answers(self, path: str = "/-/ready") -> bool:
        """Whether a page is there."""
        try:
            with opened(f"{self.url}{path}", _SILENCE):
                return True
        except OSError:
            return False


@contextmanager
def prometheus(
    home: Path,
    config: Mapping[str, Any],
    *,
    port: int = 0,
    features: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Iterator[Server]:
    """Run a Prometheus with its data, configuration and log under ``home``; port 0 is any free one.

    Of the ``features``, ``native-histograms`` becomes a setting where it is a flag no more.
    """
    program = str(find("prometheus"))
    chosen = port or free_port()
    if _NATIVE in features and not _is_flag(program, _NATIVE):
        features = [feature for feature in features if feature != _NATIVE]
        config = {**config, "global": {**config.get("global", {}), "scrape_native_histograms": True}}
    command = [
        program,
        f"--config.file={_written(home / 'prometheus.yml', config)}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={_HOST}:{chosen}",
        "--web.enable-lifecycle",
        *([f"--enable-feature={','.join(features)}"] if features else []),
        *options,
    ]
    with _ready(command, home / "prometheus.log", chosen) as server:
        yield server


def _is_flag(program: str, feature: str) -> bool:
    """Whether it is among the features that the help lists; 3.9 and later ignore the flag and want the setting."""
    told = subprocess.run([program, "--help"], check=True, capture_output=True, text=True)  # noqa: S603  # from PATH
    return feature in told.stdout + told.stderr


@contextmanager
def alertmanager(home: Path, config: Mapping[str, Any], *, port: int = 0) -> Iterator[Server]:
    """Run an Alertmanager on its own, with its data, configuration and log under ``home``."""
    chosen = port or free_port()
    command = [
        str(find("alertmanager")),
        f"--config.file={_written(home / 'alertmanager.yml', config)}",
        f"--storage.path={home / 'alerts'}",
        f"--web.listen-address={_HOST}:{chosen}",
        "--cluster.listen-address=",
    ]
    with _ready(command, home / "alertmanager.log", chosen) as server:
        yield server


@contextmanager
def _ready(command: Sequence[str], log: Path, port: int) -> Iterator[Server]:
    with Process(command, log) as process:
        server = Server(port, process)
        process.wait_until(server.answers, _PATIENCE)
        yield server


def _written(file: Path, config: Mapping[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config, indent=1), encoding="utf-8")  # JSON is YAML
    return file


def free_port() -> int:
    """Find a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
