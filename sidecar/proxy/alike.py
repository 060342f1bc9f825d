"""Heads of answers that look like an earlier one: understood by what is different in them, which is a few values.

An upstream writes the same headers in the same order again and again. Of a head that was seen twice a pattern is made,
in which all that decides anything is fixed; finding out that a further head fits takes a third of reading it. llhttp
checks each of them, so that every line ends with CRLF and nothing else.
"""

import re
from collections import deque
from typing import Final

from sidecar.proxy.framing import HOP_BY_HOP, LENGTH, LENGTH_DIGITS
from sidecar.proxy.headers import PLAIN_CONNECTION, WATCHED_OF_RESPONSES, ResponseHead, check_response

SHAPES: Final = 16
"""So many are known at a time; those that fitted longest ago are forgotten."""
LESSONS: Final = 32
"""So often anything is learnt: that costs as much as reading a hundred heads, and some upstreams never settle down."""
MISSES: Final = 1024
"""So often a head is looked at for whether anything can be learnt of it."""
_LONGEST: Final = 8192

_DECIDE: Final = frozenset({b"connection", b"transfer-encoding", b"content-type", b"content-encoding"})
_CUT: Final = frozenset(HOP_BY_HOP)
_WATCHED: Final = frozenset(WATCHED_OF_RESPONSES)
_BLANKS: Final = b" \t"
_new: Final = object.__new__


class Alike:
    """What the heads of one upstream's final answers look like (not those to HEAD, which mean something else)."""

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []  # the one that fitted last is tried first
        self._seen_once: Final[deque[bytes]] = deque(maxlen=SHAPES)
        self._lessons = LESSONS
        self._misses = MISSES

    def find(self, raw: bytes) -> ResponseHead | None:
        """Understand a head, if it looks like one that is known."""
        shapes = self._shapes
        for shape in shapes:
            head = shape.fit(raw)
            if head is not None:
                if shape is not shapes[0]:
                    shapes.remove(shape)
                    shapes.insert(0, shape)
                return head
        return None

    def learn(self, raw: bytes, head: ResponseHead) -> None:
        """Look at a head that was like none, and was read the long way."""
        if not (self._lessons and self._misses) or len(raw) > _LONGEST:
            return
        self._misses -= 1
        shape = _Shape(raw, head)
        if shape.source in self._seen_once:
            self._lessons -= 1
            shape.compile()
            self._shapes.insert(0, shape)
            del self._shapes[SHAPES:]
        elif shape.source:
            self._seen_once.append(shape.source)


class _Shape:
    """One way a head can look."""

    __slots__ = ("_fullmatch", "_length_at", "_like", "_values", "source")

    def __init__(self, raw: bytes, head: ResponseHead) -> None:
        self._like = head
        self._length_at = -1
        self._values: list[tuple[bytes, int]] = []
        self.source = self._pattern(raw)
        """The pattern: its groups are what is passed on, in its order, and the length. Empty if it would not do."""

    def compile(self) -> None:
        """Get ready; it takes a millisecond."""
        self._fullmatch = re.compile(self.source).fullmatch

    def fit(self, raw: bytes) -> ResponseHead | None:
        """Understand a head that looks like this one."""
        found = self._fullmatch(raw)
        if found is None:
            return None
        check_response(raw)
        like = self._like
        head = _new(ResponseHead)
        head.start_line, head.status, head.body = like.start_line, like.status, like.body
        head.keep_alive, head.watched = like.keep_alive, like.watched
        pieces = list(found.groups())
        if self._values:
            watched = head.watched = like.watched.copy()
            for name, at in self._values:
                watched[name] = pieces[at].strip(_BLANKS)
        head.length = int(pieces.pop(self._length_at)) if self._length_at >= 0 else -1
        head.fields = b"".join(pieces)
        return head

    def _pattern(self, raw: bytes) -> bytes:
        first, *lines = raw[:-4].split(b"\r\n")
        if raw.lower().count(b"\r\nconnection:") > 1:  # together they may name further headers
            return b""
        groups = 0
        kept = b""  # lines that are passed on, up to here
        pattern = re.escape(first + b"\r\n")
        for line in lines:
            name, _, value = line.partition(b":")
            key = name.lower()
            if key == b"connection" and value.strip(_BLANKS).lower() not in PLAIN_CONNECTION:
                return b""
            if key == b"content-length":
                if self._like.body is not LENGTH:
                    return b""
                pattern += b"(%b)%b:[ \t]*([0-9]{1,%d})[ \t]*\r\n" % (kept, re.escape(name), LENGTH_DIGITS)
                self._length_at = groups + 1
                groups, kept = groups + 2, b""
            elif key in _WATCHED and key not in _DECIDE and all(key != known for known, _ in self._values):
                pattern += b"(%b%b:)([^\r]*)" % (kept, re.escape(name))
                self._values.append((key, groups + 1))
                groups, kept = groups + 2, b"\r\n"
            else:
                shown = re.escape(line if key in _DECIDE else name + b":")
                shown += b"\r\n" if key in _DECIDE else b"[^\r]*\r\n"
                if key in _CUT:
                    pattern += b"(%b)%b" % (kept, shown)
                    groups, kept = groups + 1, b""
                else:
                    kept += shown
        return b"%b(%b)\r\n" % (pattern, kept)
