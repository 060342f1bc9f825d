"""The real command in a process of its own: started, asked, told by signals, and its lines read as they come."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

PATIENCE = 30.0
"""Seconds after which a test that waits is stuck: never waited for by a test that passes."""
SIDECAR = str(Path(sys.executable).with_name("sidecar"))
QUESTION = {"model": "claude-sonnet-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}


class Sidecar:
    """A running `sidecar proxy`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._queue: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._queue.put(line)
        self._queue.put(None)

    def line(self, pattern: str) -> re.Match[str]:
        """Read lines up to the one that fits."""
        while True:
            try:
                line = self._queue.get(timeout=PATIENCE)
            except Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line fits {pattern!r}; there were: {self.lines}")
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found

    def event(self, message: str, **fields: Any) -> dict[str, Any]:
        """Read JSON lines up to the one with this message and these fields."""
        while True:
            self.line("^{")
            found: dict[str, Any] = json.loads(self.lines[-1])
            if found["message"] == message and fields.items() <= found.items():
                return found

    def started(self) -> None:
        """Read where it listens."""
        first = self.line("listening")
        if first.string.startswith("{"):
            said = json.loads(first.string)
            self.urls, self.admin = said["listen"], said["admin"]
            return
        self.urls = re.findall(r"(?:http|unix:)[^ ,]+(?=,| for )", first.string)
        self.admin = self.line(r"metrics:\s+(http://\S+)/metrics")[1]

    def page(self, path: str) -> tuple[int, str]:
        """Ask the admin server."""
        try:
            with urlopen(self.admin + path, timeout=PATIENCE) as answer:  # noqa: S310  # our own, on loopback
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Sum the series of a metric that have these labels."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", self.page("/metrics")[1], re.MULTILINE)
        return sum(float(value) for series, value in found if wanted <= set(series.split(",")))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what tells nobody."""
        pause = threading.Event()
        for _ in range(int(PATIENCE / 0.05)):
            if condition():
                return
            assert self.process.poll() is None
            pause.wait(0.05)
        raise AssertionError(f"waited in vain; the lines so far: {self.lines}")

    def client(self) -> HTTPConnection:
        """Connect."""
        return HTTPConnection(self.urls[0].removeprefix("http://"), timeout=PATIENCE)

    def ask(self, *, path: str = "/v1/messages", on: HTTPConnection | None = None, **headers: str) -> int:
        """Ask Claude, and return the status."""
        connection = on or self.client()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"x-api-key": "key-canary", "anthropic-version": "2023-06-01"}
        connection.request("POST", path, json.dumps(QUESTION), sent)
        answer = connection.getresponse()
        answer.read()
        if on is None:
            connection.close()
        return answer.status

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end; returns the exit status."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while not self._queue.empty():
            self.lines.append(self._queue.get() or "")
        return status

    def stop(self) -> int:
        """End it in good order."""
        self.tell(signal.SIGTERM)
        return self.ended()


@contextmanager
def sidecar(
    upstream: str,
    *options: str,
    config: Path | None = None,
    environ: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
    **popen: Any,
) -> Iterator[Sidecar]:
    """Run the command; it is ready when this yields. ``prefix`` is what runs it."""
    command = [*prefix, SIDECAR, "proxy", "--admin", "127.0.0.1:0", *options]
    if upstream:
        command += ["--upstream", upstream]
    if "--listen" not in options:
        command += ["--listen", "127.0.0.1:0"]
    if config:
        command += ["--config", str(config)]
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environ = {**inherited, **(environ or {})}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ, **popen) as process:
        running = Sidecar(process)
        try:
            running.started()
            yield running
        finally:
            process.kill()
            process.wait(PATIENCE)
            running.ended()
