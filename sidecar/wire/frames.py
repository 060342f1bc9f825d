"""Undoes the framing that Amazon Bedrock streams with: out come the server-sent events that the API itself would send.

A frame is a prelude (its length, that of its headers, a checksum), headers, a payload and a checksum. Never more than
one frame of bounded size is held; what a peer sends raises nothing, and what is no frame ends the looking.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, Final
from zlib import crc32

FRAMED: Final = "application/vnd.amazon.eventstream"
"""The content type of a stream of frames."""
FRAME_LIMIT: Final = 1024 * 1024
"""A frame may be this long; no event of the API comes near. Of one that is longer nothing is held or told."""

_PRELUDE: Final = 12
_LEAST: Final = 16
_HEADERS_LIMIT: Final = 128 * 1024
_DELTA: Final = b'{"type":"content_block_delta"'
_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyz_")
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""How long the value of a header is, by its type; those of bytes and of text say so themselves."""
_MEASURED: Final = frozenset({6, 7})
_ERRORS: Final = {
    "throttlingexception": "rate_limit_error",
    "servicequotaexceededexception": "rate_limit_error",
    "modeltimeoutexception": "timeout_error",
    "validationexception": "invalid_request_error",
    "accessdeniedexception": "permission_error",
    "resourcenotfoundexception": "not_found_error",
}
"""What Amazon's exceptions are in the API's words; all others are ``api_error``."""


class EventFrames:
    """The frames of one stream: feed it chunks cut anywhere, and read the events it gives."""

    __slots__ = ("_held", "_skip", "failed", "intact")

    def __init__(self) -> None:
        self._held = bytearray()
        self._skip = 0
        self.intact = 0
        """So many bytes from the beginning are frames with nothing wrong, or too long to be looked at."""
        self.failed = False
        """True once something was no frame; nothing more comes out."""

    @property
    def damaged(self) -> bool:
        """The same: nobody else can read it either."""
        return self.failed

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next chunk; give the events of the frames it completes."""
        if self.failed:
            return
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        held = self._held
        held += data
        at = 0
        while len(held) - at >= _PRELUDE:
            length = int.from_bytes(held[at : at + 4], "big")
            headers = int.from_bytes(held[at + 4 : at + 8], "big")
            if not _is_prelude(held[at : at + _PRELUDE], length, headers):
                self.failed = True
                break
            if length > FRAME_LIMIT:
                self._skip = max(0, length - (len(held) - at))
                at = min(at + length, len(held))
                self.intact += length
                continue
            if len(held) - at < length:
                break
            frame = bytes(held[at : at + length])
            at += length
            if crc32(frame[:-4]) != int.from_bytes(frame[-4:], "big"):
                self.failed = True
                break
            self.intact += length
            event = _event(frame, _PRELUDE + headers)
            if event is not None:
                yield event
        if self.failed:
            held.clear()
        else:
            del held[:at]


def _is_prelude(prelude: bytearray, length: int, headers: int) -> bool:
    return (
        headers <= _HEADERS_LIMIT
        and length >= headers + _LEAST
        and crc32(prelude[:8]) == int.from_bytes(prelude[8:], "big")
    )


def _event(frame: bytes, payload_at: int) -> bytes | None:
    """Make of a whole frame the event it stands for; None where it stands for none."""
    headers = _headers(frame[_PRELUDE:payload_at])
    kind = headers.get(b":message-type")
    if kind in {b"exception", b"error"}:
        code = headers.get(b":exception-type") or headers.get(b":error-code") or b""
        error = _ERRORS.get(code.decode("latin-1").lower(), "api_error")
        return _written("error", json.dumps({"type": "error", "error": {"type": error}}).encode())
    data = _payload(frame[payload_at:-4])
    if not data:
        return None
    if data.startswith(_DELTA):  # most are, and need not be decoded
        return _written("content_block_delta", data)
    event = _decoded(data)
    name = event.get("type") if isinstance(event, dict) else None
    return _written(name, data) if isinstance(name, str) and name and _NAME.issuperset(name) else None


def _headers(data: bytes) -> dict[bytes, bytes]:
    """Read the headers, as far as they can be read."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]]
        at += 1 + len(name)
        kind = data[at : at + 1]
        at += 1
        if not kind:
            break
        size = _SIZES.get(kind[0])
        if size is None:
            if kind[0] not in _MEASURED:
                break
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2
        found[name] = data[at : at + size]
        at += size
    return found


def _payload(data: bytes) -> bytes | None:
    told = _decoded(data)
    packed = told.get("bytes") if isinstance(told, dict) else None
    if not isinstance(packed, str):
        return None
    try:
        return b64decode(packed)
    except ValueError:
        return None


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _written(name: str, data: bytes) -> bytes:
    # In JSON a line ends only between tokens, where a blank does as well.
    one_line = data.replace(b"\n", b" ").replace(b"\r", b" ")
    return b"event: " + name.encode() + b"\ndata: " + one_line + b"\n\n"
