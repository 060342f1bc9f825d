"""One attempt's answer: passed on as it comes, held because it may be tried again, or put together from a stream."""

from typing import Final

from sidecar.model import UNPARSABLE, StreamEnd, Verdict
from sidecar.proxy.errors import Fault
from sidecar.proxy.headers import ResponseHead
from sidecar.proxy.protect.assemble import Assembly, Whole
from sidecar.proxy.protect.reply import Reply, as_json, final
from sidecar.proxy.protect.watch import Look
from sidecar.proxy.reading import FIRST_ERROR
from sidecar.wire.decompress import Decompressor, decompressor

HELD_BYTES: Final = 64 * 1024
"""A failed answer's body up to this size is held until it is clear whether it is tried again; a longer one is not."""

_TRIED_AGAIN: Final = frozenset({408, 409, 429})
_FIRST_SERVER_ERROR: Final = 500
_UNENCODED: Final = frozenset({b"", b"identity"})


class Answer:
    """What came of one attempt that was answered."""

    __slots__ = (
        "_decompress",
        "_held",
        "_held_bytes",
        "_holding",
        "_look",
        "_reply",
        "_trailers",
        "assembly",
        "complete",
        "head",
    )

    def __init__(self, head: ResponseHead, look: Look, reply: Reply, *, upgrade_bytes: int | None) -> None:
        self.head = head
        self._look = look
        self._reply = reply
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._holding = head.status >= FIRST_ERROR
        self._decompress: Decompressor | None = None
        self._trailers: list[bytes] = []
        self.complete = False
        """All of it has come."""
        self.assembly: Assembly | None = None
        """Puts it together, where it is the stream of an upgraded request."""
        if upgrade_bytes is not None and not self._holding and _is_stream(head):
            self.assembly = Assembly(upgrade_bytes)
            encoding = head.watched.get(b"content-encoding", b"").strip().lower()
            if encoding not in _UNENCODED:
                self._decompress = decompressor(encoding.decode("latin-1"))
                if self._decompress is None:
                    self.assembly.refuse("it is compressed in a way that is not known here")

    @property
    def passes(self) -> bool:
        """Whether it goes to the client as it comes."""
        return not self._holding and self.assembly is None

    def data(self, data: bytes, *, close: bool) -> None:
        """Take a part of its body."""
        if self.assembly is not None:
            for piece in (data,) if self._decompress is None else self._decompress.feed(data):
                self.assembly.feed(piece)
        elif self._holding:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > HELD_BYTES:
                self._holding = False
                self._reply.begin(self.head, close=close)
                self._reply.data(self._take())
        else:
            self._reply.data(data)

    def over(self, trailers: list[bytes]) -> None:
        """Take its end."""
        self.complete = True
        self._trailers = trailers

    def verdict(self, broken: Verdict | None) -> Verdict:
        """Say what it was; ``broken``: what became of its connection, where it did not come to its end."""
        verdict = self._look.verdict(StreamEnd.EOF, broken)
        if self.assembly is not None and self.assembly.over:
            self.complete = True
            if isinstance(self.assembly.answer(), Fault):
                return UNPARSABLE
        return verdict

    def give(self, *, close: bool, no_more: bool) -> Fault | None:
        """Give what there is of it to the client, if that is not done; a fault where it is worth nothing.

        ``no_more``: it is not to be tried again by the client.
        """
        if self.assembly is not None:
            return self._give_whole(self.assembly.answer(), close=close, no_more=no_more)
        if self._holding:
            body = self._take()
            fields = final(self.head.fields) if no_more and _is_tried_again(self.head.status) else self.head.fields
            length = len(body) if self.complete else None
            self._reply.begin(self.head, close=close, fields=fields, length=length)
            self._reply.data(body)
        if self.complete:
            self._reply.end(self._trailers)
        return None

    def _give_whole(self, answer: Whole | Fault, *, close: bool, no_more: bool) -> Fault | None:
        if isinstance(answer, Fault):
            return answer
        if self._reply.begun:  # with white space: its status is told
            if answer.status >= FIRST_ERROR:
                self.complete = False
                return None
        else:
            fields = as_json(self.head, answer.status)
            if no_more and _is_tried_again(answer.status):
                fields = final(fields)
            self._reply.begin(self.head, close=close, fields=fields, length=len(answer.body))
        self._reply.data(answer.body)
        self._reply.end([])  # those of the stream were not written for the message
        return None

    def _take(self) -> bytes:
        held = b"".join(self._held)
        self._held.clear()
        return held


def _is_stream(head: ResponseHead) -> bool:
    return head.watched.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"text/event-stream"


def _is_tried_again(status: int) -> bool:
    return status in _TRIED_AGAIN or status >= _FIRST_SERVER_ERROR
