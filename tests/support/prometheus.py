"""A real Prometheus for tests: it scrapes what the test serves, and is asked over its own API.

A machine without it fails the test and says what to do: a test that passes by not running proves nothing.
"""

import datetime as dt
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds to wait for what must come, on a machine that does much else."""


def server(name: str) -> str:
    """Find a server's program on PATH, or fail the test."""
    found = shutil.which(name)
    if found is None:
        raise AssertionError(
            f"this test needs {name}, and it is not on PATH: run `make test`, or put it there with "
            '`PATH="$(scripts/servers)$PATH"`'
        )
    return found


def until(check: Callable[[], T], what: str) -> T:
    """Ask again and again until the answer is true, and return it; fail when it stays false for too long."""
    give_up = time.monotonic() + PATIENCE
    while not (answer := check()):
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {PATIENCE:g} s in vain for {what}")
        time.sleep(0.05)
    return answer


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def api(self, path: str, **parameters: str | float) -> Any:
        """Ask the API, and return the ``data`` of its answer."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as response:  # noqa: S310  # our own loopback
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"Prometheus refused {url}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Evaluate an expression now: each series with its labels and value."""
        result = self.api("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result if "value" in series]

    def value(self, expression: str) -> float:
        """Evaluate an expression until it has exactly one value, and return that."""
        found = until(lambda: one if len(one := self.query(expression)) == 1 else [], f"one value of {expression}")
        return found[0][1]

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Return the exemplars of the last hour."""
        now = time.time()
        data = self.api("query_exemplars", query=expression, start=now - 3600, end=now + 60)
        return [exemplar for series in data for exemplar in series["exemplars"]]

    def wait_for_scrapes(self) -> None:
        """Wait until every target has been scraped, from now on, at least once."""
        begun = time.time()

        def all_new() -> bool:
            targets = self.api("targets", state="active")["activeTargets"]
            # On a busy machine a scrape may time out: the next one will do.
            return bool(targets) and all(
                target["health"] == "up" and _moment(target["lastScrape"]) > begun for target in targets
            )

        until(all_new, f"a scrape of every target of {self.url}/targets")


@contextmanager
def prometheus(
    home: Path,
    targets: Sequence[str],
    *,
    features: Sequence[str] = ("native-histograms", "exemplar-storage"),
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes ``targets`` (``host:port``) each second; ``settings`` add to its configuration."""
    program = server("prometheus")
    home.mkdir(parents=True, exist_ok=True)
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "test", "static_configs": [{"targets": list(targets)}]}],
        **(settings or {}),
    }
    # JSON is YAML.
    Path(home, "prometheus.yml").write_text(json.dumps(configuration))
    log = Path(home, "log.txt")
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={home}/prometheus.yml",
                f"--storage.tsdb.path={home}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--enable-feature={','.join(features)}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        running = Prometheus(f"http://127.0.0.1:{port}")
        until(lambda: _ready(running.url, process, log), "Prometheus to be ready")
        yield running
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, f"Prometheus ended: {log.read_text()}"
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=PATIENCE):  # noqa: S310  # our own loopback
            return True
    except OSError:
        return False


def _moment(text: str) -> float:
    # RFC 3339 with nanoseconds: more digits than datetime reads. The zone is behind them.
    whole, zone = re.fullmatch(r"([^.]+)(?:\.\d+)?(Z|[+-].+)", text).groups()  # type: ignore[union-attr]  # Prometheus'
    return dt.datetime.fromisoformat(whole + zone).timestamp()
