"""`Console`: the page, the status document and the live events, as answers to requests. Knows HTTP's words, no server.

One function of these serves every server: those with an event loop and those with threads only differ in how they wait
between two events.
"""

import gzip
import json
import os
import time
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, Final

from sidecar._version import __version__
from sidecar.console import assets
from sidecar.console.gate import Asked, Gate, made, page, refusal
from sidecar.console.history import History, sources_of
from sidecar.console.token import Token
from sidecar.console.view import DEFAULT_WINDOW, HOUR, STEP, WINDOWS, View
from sidecar.model import Source
from sidecar.telemetry import Telemetry
from sidecar.telemetry import families as f
from sidecar.telemetry.exposition import accepts_gzip
from sidecar.telemetry.page import Answer

PAGE: Final = "/"
STATUS: Final = "/api/v1/status"
EVENTS: Final = "/api/v1/events"

EVERY: Final = 1.0
"""Seconds between two events."""
MAX_VIEWERS: Final = 16
_LIFETIME: Final = 600
"""Events after which a stream ends, so that none is held for ever; a browser comes back by itself."""


class Viewer:
    """One live stream: ask for its ``next`` event every `EVERY` seconds, and ``close`` it when nobody reads on."""

    def __init__(self, event: Callable[[float], tuple[bytes, float]], leave: Callable[[], None]) -> None:
        self._event: Final = event
        self._leave: Final = leave
        self._since = 0.0
        self._left = _LIFETIME
        self._open = True
        self.headers: Final = tuple(
            header
            for header in made(
                200,
                b"",
                ("Content-Type", "text/event-stream"),
                ("Cache-Control", "no-store"),
                ("X-Accel-Buffering", "no"),  # else a proxy in front waits for more
            ).headers
            if header[0] != "Content-Length"
        )

    def next(self) -> bytes | None:
        """Return the next event; None when the stream is to end."""
        if not self._left:
            return None
        self._left -= 1
        event, self._since = self._event(self._since)
        return event

    def close(self) -> None:
        """Make room for another viewer."""
        if self._open:
            self._open = False
            self._leave()


class Console:
    """The console of one `Telemetry`, which it watches from now until it is closed.

    ``mode`` is how the sidecar runs (``client``, ``collect`` or ``proxy``). ``remote`` says that other machines can
    reach it: then nothing is shown without a ``token``; a token that is given is always asked for.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        mode: str,
        remote: bool = False,
        token: Token | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._telemetry: Final = telemetry
        self._mode: Final = mode
        self._wall: Final = wall
        self._history: Final = History(wall)
        self._gate: Final = Gate(token, remote=remote, login=partial(assets.html, "login.html"), welcome=_WELCOME)
        self._instance: Final = os.urandom(4).hex()
        self._viewers = 0
        self._lock: Final = Lock()
        telemetry.add_sink(self._history)

    def close(self) -> None:
        """Stop watching."""
        self._telemetry.remove_sink(self._history)

    @staticmethod
    def paths() -> tuple[str, ...]:
        """List what it answers."""
        return (PAGE, STATUS, EVENTS, *(assets.ROOT + name for name in assets.names()))

    def answer(self, request: Asked) -> Answer | Viewer:
        """Answer a request for one of its paths; for the live events, with a stream to send."""
        if request.path.startswith(assets.ROOT):
            # The login page needs them, and they hold nothing but code.
            return assets.answer(request)
        return self._gate.stops(request) or self._show(request)

    def status(self, window: int = DEFAULT_WINDOW, source: Source | None = None, since: float = 0) -> Any:
        """Put the status document together; its series holds the steps that ended after ``since``."""
        # These load when somebody looks: few processes are ever looked at.
        from sidecar.console import gauges, status  # noqa: PLC0415
        from sidecar.console.objectives import default_objectives, standings  # noqa: PLC0415

        samples = list(self._telemetry.gauges())

        def look(views: dict[Source, View], now: float) -> dict[str, Any]:
            chosen = source or max(views, key=lambda each: views[each].calls, default=Source.CLIENT)
            view = views.get(chosen) or View()
            tallies = view.sums(window, now)
            shown = status.document(
                status.Look(
                    now=now,
                    since=self._history.since,
                    window=window,
                    tallies=tallies,
                    slowest=view.slowest(window, now),
                    failed=view.failed(window, now),
                    points=view.points(since, now),
                    ever=any(each.calls for each in views.values()),
                    gauges=gauges.read(samples, sources_of(chosen)),
                    standings=standings(default_objectives(), tallies),
                    dropped=int(self._telemetry.value(f.DROPPED.name)) + self._history.missed,
                    errors=int(self._telemetry.value(f.INTERNAL_ERRORS.name)),
                )
            )
            return {
                "version": status.VERSION,
                "now": round(now, 3),
                "sidecar": {
                    "version": __version__,
                    "mode": self._mode,
                    "instance": self._instance,
                },
                "history": {
                    "since": round(self._history.since, 3),
                    "span_seconds": HOUR,
                    "step_seconds": STEP,
                },
                "view": {
                    "source": chosen,
                    "sources": sorted(views),
                    "window_seconds": window,
                    "windows": WINDOWS,
                },
                **shown,
            }

        return self._history.read(look)

    def _show(self, request: Asked) -> Answer | Viewer:
        if request.path == PAGE:
            return page(assets.html("index.html"))
        try:
            window, source = _choice(request)
        except ValueError as error:
            return refusal(400, f"{error}\n")
        if request.path == STATUS:
            return self._status(request, window, source)
        if request.method == "HEAD":
            return made(200, b"", ("Content-Type", "text/event-stream"))
        return self._watch(window, source)

    def _status(self, request: Asked, window: int, source: Source | None) -> Answer:
        body = _json(self.status(window, source))
        kind = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Vary", "Accept-Encoding"))
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            return made(200, gzip.compress(body, compresslevel=1, mtime=0), ("Content-Encoding", "gzip"), *kind)
        return made(200, body, *kind)

    def _watch(self, window: int, source: Source | None) -> Answer | Viewer:
        with self._lock:
            if self._viewers >= MAX_VIEWERS:
                return refusal(503, f"There are {MAX_VIEWERS} viewers already: close one.\n", ("Retry-After", "10"))
            self._viewers += 1

        def event(since: float) -> tuple[bytes, float]:
            document = self.status(window, source, since)
            # From now on only what has changed: the step under way, and those after it.
            return b"event: status\ndata: " + _json(document) + b"\n\n", document["now"] - STEP

        def leave() -> None:
            with self._lock:
                self._viewers -= 1

        return Viewer(event, leave)


_WELCOME: Final = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>claude-sidecar</title>'
    b'<link rel="icon" href="/console/icon.svg"><meta http-equiv="refresh" content="0;url=/">'
    b'<p><a href="/">Go on to the console</a></p>\n'
)


def _choice(request: Asked) -> tuple[int, Source | None]:
    window, source = request.query.get("window", str(DEFAULT_WINDOW)), request.query.get("source", "")
    if window not in {str(each) for each in WINDOWS}:
        raise ValueError(f"window must be one of {', '.join(map(str, WINDOWS))} (seconds)")
    if source not in {"", Source.CLIENT, Source.PROXY}:
        raise ValueError("source must be client or proxy")
    return int(window), Source(source) if source else None


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
