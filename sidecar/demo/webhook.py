"""Receives what Alertmanager sends to a webhook, and hands out each alert as it arrives."""

import datetime as dt
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any, Final, Self

__all__ = ["Notice", "Webhook", "webhook"]

_LARGEST: Final = 4 * 1024 * 1024
"""Bytes; Alertmanager sends a few kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One alert as it was told, once; a group's alerts are told together, so some are told again."""

    name: str
    firing: bool
    """Else it is resolved."""
    receiver: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    started: str
    """When it began, as Alertmanager writes it: RFC 3339."""
    arrived: dt.datetime

    @classmethod
    def read(cls, body: bytes, arrived: dt.datetime) -> tuple[Self, ...]:
        """Read the alerts of one message; raise ValueError or KeyError when it is none."""
        message: dict[str, Any] = json.loads(body)
        return tuple(
            cls(
                name=alert["labels"]["alertname"],
                firing=alert["status"] == "firing",
                receiver=message["receiver"],
                labels=alert["labels"],
                annotations=alert["annotations"],
                started=alert["startsAt"],
                arrived=arrived,
            )
            for alert in message["alerts"]
        )


class Webhook:
    """What has been received so far, and what comes."""

    def __init__(self, url: str) -> None:
        self.url: Final = url
        self._notices: Final[list[Notice]] = []
        self._more: Final = Condition()
        self._closed = False

    @property
    def received(self) -> tuple[Notice, ...]:
        """Everything so far, oldest first."""
        with self._more:
            return tuple(self._notices)

    def follow(self, patience: float) -> Iterator[Notice]:
        """Yield every notice from the first one on, as they arrive; end after ``patience`` seconds, or when closed."""
        give_up = time.monotonic() + patience
        seen = 0
        while True:
            with self._more:
                self._more.wait_for(lambda: self._closed or len(self._notices) > seen, give_up - time.monotonic())  # noqa: B023  # called before `seen` changes
                new = self._notices[seen:]
            if not new:
                return
            seen += len(new)
            yield from new

    def take(self, notices: tuple[Notice, ...]) -> None:
        """Add what has arrived."""
        with self._more:
            self._notices.extend(notices)
            self._more.notify_all()

    def close(self) -> None:
        """Let those who follow come to an end."""
        with self._more:
            self._closed = True
            self._more.notify_all()


@contextmanager
def webhook(port: int = 0) -> Iterator[Webhook]:
    """Listen on loopback, in a thread of its own; port 0 is any free one."""

    class Handler(_Handler):
        def take(self, body: bytes) -> None:
            receiver.take(Notice.read(body, dt.datetime.now(dt.UTC)))

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        receiver = Webhook(f"http://127.0.0.1:{server.server_port}/")
        thread = Thread(target=server.serve_forever, args=(0.05,), name="sidecar-webhook", daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.close()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def take(self, body: bytes) -> None:
        raise NotImplementedError

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > _LARGEST:
            self.send_error(413, "a message has a Content-Length of at most 4 MiB")
            return
        try:
            self.take(self.rfile.read(int(length)))
        except (ValueError, KeyError, TypeError, AttributeError):
            self.send_error(400, "this is not what Alertmanager sends to a webhook")
            return
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name for it
        """Say nothing: whoever started this prints what it wants to."""
