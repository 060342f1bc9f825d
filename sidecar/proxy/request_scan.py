"""Model, ``max_tokens`` and ``stream`` out of a request's body as it goes by: never a full parse of a large one.

Of a large body the beginning and the end are held, where its top-level keys stand (the SDKs send ``messages`` before
``model``, curl users often the other way round). Content may hold the same words, so keys count at the top level only.
"""

import re
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sidecar.wire.usage import decoded

HELD: Final = 32 * 1024
"""How much of the beginning, and of the end, is held."""
_SOON_DECODED: Final = 1024
"""A body this short is decoded in less time than it is searched in, however many brackets it has."""
_MAX_MODEL: Final = 256

_KEYS: Final = (b'"model"', b'"max_tokens"', b'"stream"')
_WANTED: Final = re.compile(rb'"(model|max_tokens|stream)"\s*:\s*("[^"\\]{1,256}"|[0-9]{1,9}(?=[\s,}])|true|false)')
# A quote that no backslash escapes, and what gives a text outside of strings its depth.
_MARKS: Final = re.compile(rb'(?:\\.)+|["{}\[\]]', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
_OPENING: Final = frozenset(b"{[")


class Asked(NamedTuple):
    """What a request asks for; what could not be found is empty."""

    model: str = ""
    max_tokens: int | None = None
    stream: bool = False


NOTHING_ASKED: Final = Asked()


class RequestScan:
    """One request's body. Feed it the pieces; ask when they have all come."""

    __slots__ = ("_crc", "_first", "_held", "_last", "size")

    def __init__(self) -> None:
        self.size = 0
        """How long the body is so far."""
        self._crc = 0
        self._held: list[bytes] = []
        self._first = b""  # the beginning, once the body is too long to be held whole
        self._last = b""

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self.size += len(piece)
        if self._first:
            self._crc = zlib.crc32(piece, self._crc)
            self._last = piece[-HELD:] if len(piece) >= HELD else (self._last + piece)[-HELD:]
            return
        self._held.append(piece)
        if self.size > 2 * HELD:
            whole = self._whole()
            self._crc = zlib.crc32(whole)
            self._held.clear()
            self._first, self._last = whole[:HELD], whole[-HELD:]

    @property
    def fingerprint(self) -> tuple[int, int]:
        """What is the same for two bodies that are: for telling a retry from a new request, nothing else."""
        return self._crc if self._first else zlib.crc32(self._whole()), self.size

    def asked_so_far(self) -> Asked:
        """Say what the beginning of a body that is still coming asks for."""
        return _asked(**_at_top(self._first or self._whole(), from_end=False))

    def asked(self) -> Asked:
        """Say what the body asks for."""
        if self._first:
            return _asked(**{**_at_top(self._last, from_end=True), **_at_top(self._first, from_end=False)})
        whole = self._whole()
        found = _found_once(whole) if len(whole) > _SOON_DECODED else None
        if found is not None:
            return _asked(**found)
        try:
            value = decoded(whole)
        except (ValueError, RecursionError):
            return Asked()
        return _of(value) if isinstance(value, dict) else Asked()

    def _whole(self) -> bytes:
        return self._held[0] if len(self._held) == 1 else b"".join(self._held)


def _found_once(text: bytes) -> dict[str, bytes] | None:
    """Find the wanted keys, if each stands in the text at most once, and seems to belong to the outermost object.

    Brackets in strings are counted with the others, but they mostly come in pairs.
    """
    places = sorted((at, key) for key in _KEYS if (at := text.find(key)) >= 0)
    found = {}
    depth = before = 0
    for at, key in places:
        brackets = text[before:at].translate(None, _NO_BRACKETS)
        depth += 2 * (brackets.count(b"{") + brackets.count(b"[")) - len(brackets)
        before = at
        value = _WANTED.match(text, at)
        if depth != 1 or value is None or text.find(key, at + len(key)) >= 0:
            return None
        found[value[1].decode()] = value[2]
    return found


def _of(body: dict[str, Any]) -> Asked:
    model, max_tokens = body.get("model"), body.get("max_tokens")
    return Asked(
        model if isinstance(model, str) and len(model) <= _MAX_MODEL else "",
        max_tokens if type(max_tokens) is int else None,
        body.get("stream") is True,
    )


@lru_cache(maxsize=256)  # the same few again and again
def _asked(model: bytes = b"", max_tokens: bytes = b"", stream: bytes = b"") -> Asked:
    return Asked(
        model[1:-1].decode("utf-8", "replace") if model.startswith(b'"') else "",
        int(max_tokens) if max_tokens.isdigit() else None,
        stream == b"true",
    )


def _at_top(text: bytes, *, from_end: bool) -> dict[str, bytes]:
    """Find the wanted keys of the outermost object in a part of its text: its beginning, or its end."""
    outside = {start for start, depth in _strings(text, from_end=from_end) if depth == 1}
    return {found[1].decode(): found[2] for found in _WANTED.finditer(text) if found.start() in outside}


def _strings(text: bytes, *, from_end: bool) -> Iterator[tuple[int, int]]:
    """Find where the strings begin, and how deep they stand, counting from the side where both are known."""
    marks = [mark.start() for mark in _MARKS.finditer(text) if mark[0][0] != ord("\\")]
    depth = 0
    other_end = -1
    for at in reversed(marks) if from_end else marks:
        mark = text[at]
        if mark == ord('"'):
            if other_end < 0:
                other_end = at
            else:
                yield (at if from_end else other_end), depth
                other_end = -1
        elif other_end < 0:
            depth += 1 if (mark in _OPENING) is not from_end else -1
