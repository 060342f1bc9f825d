"""The console's static files: read once, told by their content, sent compressed where that is asked for."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from sidecar.console.gate import Asked, made
from sidecar.telemetry.exposition import accepts_gzip
from sidecar.telemetry.page import Answer

ROOT: Final = "/console/"
_FOLDER: Final = Path(__file__).with_name("static")
TYPES: Final = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    packed: bytes
    tag: str
    kind: str


def names() -> list[str]:
    """List the files that are served to anybody: they hold nothing but code."""
    return sorted(each.name for each in _FOLDER.iterdir() if each.suffix[1:] in TYPES)


def html(name: str) -> bytes:
    """Read a page."""
    return (_FOLDER / name).read_bytes()


def answer(request: Asked) -> Answer:
    """Send one of ``names()``."""
    asset = _read(request.path.removeprefix(ROOT))
    kept = (("ETag", asset.tag), ("Cache-Control", "no-cache"), ("Vary", "Accept-Encoding"))
    if request.headers.get("if-none-match") == asset.tag:
        return made(304, b"", *kept)
    kind = ("Content-Type", asset.kind)
    if accepts_gzip(request.headers.get("accept-encoding", "")):
        return made(200, asset.packed, ("Content-Encoding", "gzip"), kind, *kept)
    return made(200, asset.body, kind, *kept)


@cache
def _read(name: str) -> _Asset:
    body = (_FOLDER / name).read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    return _Asset(body, gzip.compress(body, mtime=0), tag, TYPES[name.rpartition(".")[2]])
