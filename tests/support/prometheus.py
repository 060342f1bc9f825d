"""A real Prometheus for tests: it scrapes what the test serves, and is asked over its own API.

A machine without it fails the test and says what to do: a test that passes by not running proves nothing.
"""

import datetime as dt
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sidecar.demo import find, scraping
from sidecar.demo import prometheus as run_prometheus

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds to wait for what must come, on a machine that does much else."""


def server(name: str) -> str:
    """Find a server's program on PATH; a test without it fails, and says what to do."""
    return str(find(name))


def until(check: Callable[[], T], what: str) -> T:
    """Ask again and again until the answer is true, and return it; fail when it stays false for too long."""
    give_up = time.monotonic() + PATIENCE
    while not (answer := check()):
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {PATIENCE:g} s in vain for {what}")
        time.sleep(0.05)
    return answer


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
    configuration = {**scraping({"test": targets}), **(settings or {})}
    with run_prometheus(home, configuration, features=features) as running:
        yield Prometheus(running.url)


def _moment(text: str) -> float:
    # RFC 3339 with nanoseconds: more digits than datetime reads. The zone is behind them.
    whole, zone = re.fullmatch(r"([^.]+)(?:\.\d+)?(Z|[+-].+)", text).groups()  # type: ignore[union-attr]  # Prometheus'
    return dt.datetime.fromisoformat(whole + zone).timestamp()
