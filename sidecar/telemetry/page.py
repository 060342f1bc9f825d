"""`MetricsPage`: what to answer to a request for the metrics. Knows HTTP's words, and no server."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.telemetry.exposition import Format, Renderer, accepts_gzip, negotiate
from sidecar.telemetry.process import ProcessMetrics
from sidecar.telemetry.telemetry import Telemetry, default_telemetry
from sidecar.telemetry.view import FamilyView

PATH: Final = "/metrics"
_WORTH_COMPRESSING: Final = 1024
_PACKED: Final = 16 * 1024
"""This much is packed at once: a tenth of a millisecond's work."""
_PLAIN: Final = ("Content-Type", "text/plain; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class MetricsPage:
    """The metrics of a `Telemetry` (by default the shared one) with ``process_*`` and ``python_info``."""

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self._telemetry: Final = telemetry or default_telemetry()
        self._process: Final = ProcessMetrics()
        self._renderer: Final = Renderer()

    def answer(self, method: str, accept: str = "", accept_encoding: str = "") -> Answer:
        """Answer a request for the page, given its method and two of its headers."""
        if method not in {"GET", "HEAD"}:
            return refusal(405, "This page can only be read: use GET or HEAD.\n", ("Allow", "GET, HEAD"))
        form = negotiate(accept)
        try:
            body = self._renderer.render(self._views(), form)
        except Exception as error:  # noqa: BLE001  # a scraper is told, the program goes on
            self._telemetry.internal_error("scrape", error)
            return refusal(500, "The metrics could not be rendered; the log says where.\n")
        headers = _headers(form)
        if len(body) >= _WORTH_COMPRESSING and accepts_gzip(accept_encoding):
            # Level 1: half the time of the default for a tenth more bytes.
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Length", str(len(body))))
        return Answer(200, tuple(headers), b"" if method == "HEAD" else body)

    def pieces(self, accept: str = "", accept_encoding: str = "") -> tuple[list[tuple[str, str]], Iterator[bytes]]:
        """Give the same page's headers, and its body piece by piece, each little work; the length is not known."""
        form = negotiate(accept)
        headers = _headers(form)
        pieces = self._renderer.pieces(self._views(), form)
        if accepts_gzip(accept_encoding):
            headers.append(("Content-Encoding", "gzip"))
            pieces = _compressed(pieces)
        return headers, pieces

    def _views(self) -> Iterator[FamilyView]:
        yield from self._telemetry.collect()
        yield from self._process.collect()


def _headers(form: Format) -> list[tuple[str, str]]:
    return [("Content-Type", form.value), ("Vary", "Accept, Accept-Encoding"), ("Cache-Control", "no-store")]


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    for piece in pieces:
        for start in range(0, len(piece), _PACKED):
            yield packer.compress(piece[start : start + _PACKED])
        yield b""
    yield packer.flush()


def not_found() -> Answer:
    """Answer a request for any other path."""
    return refusal(404, f"There is nothing here; the metrics are at {PATH}.\n")


def refusal(status: int, sentence: str, *headers: tuple[str, str]) -> Answer:
    """Answer with an error and one sentence."""
    body = sentence.encode()
    return Answer(status, (_PLAIN, ("Content-Length", str(len(body))), *headers), body)
