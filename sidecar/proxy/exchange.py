"""One request and its answer: who is told what, in which state, and that it ends exactly once.

It moves bytes between a `Downstream` and an `Upstream` and knows neither's parsing.
"""

from typing import TYPE_CHECKING, Final

from sidecar.proxy.ending import Ending
from sidecar.proxy.errors import Fault
from sidecar.proxy.framing import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE
from sidecar.proxy.headers import RequestHead, ResponseHead

if TYPE_CHECKING:
    from sidecar.proxy.downstream import Downstream
    from sidecar.proxy.observe import Sight
    from sidecar.proxy.pool import Pool
    from sidecar.proxy.upstream import Upstream

HELD_BYTES: Final = 64 * 1024
"""How much of a body is held while there is no connection to send it on; then the client's sending is paused."""
RACE_SECONDS: Final = 1.0
"""A connection that has rested this long may be just being closed by the upstream: what it loses is sent again."""

_NO_CONTENT = 204
_LAST_CHUNK: Final = b"0\r\n\r\n"


class Exchange:
    """One request's life."""

    __slots__ = (
        "_answering",
        "_close_after",
        "_down",
        "_encoding",
        "_head_out",
        "_held",
        "_held_bytes",
        "_pool",
        "_replay",
        "_replay_bytes",
        "_request_over",
        "_sight",
        "_until_close",
        "_up",
        "_upload_paused",
        "admitted",
        "ending",
        "fault",
        "head",
        "to_head",
    )

    def __init__(self, downstream: "Downstream", head: RequestHead, sight: "Sight | None" = None) -> None:
        self._down = downstream
        self._sight = sight
        self._pool: Pool | None = None
        self._up: Upstream | None = None
        self._held: list[bytes] = []  # of the body, while there is no connection to send it on
        self._held_bytes = 0
        self._replay_bytes = 0
        self._replay: list[bytes] | None = None  # all that was sent, as long as it may have to be sent again
        self._request_over = False
        self._answering = False
        self._encoding = False
        self._until_close = False
        self._head_out = b""
        self._close_after = not head.keep_alive
        self._upload_paused = False
        self.head = head
        self.to_head = head.method == b"HEAD"
        self.admitted = False
        """It counts as under way."""
        self.ending: Ending | None = None
        self.fault: Fault | None = None

    # --- from the client's side

    def start(self, pool: "Pool") -> None:
        """Ask for a connection; what has come of the body waits."""
        self._pool = pool
        upstream = pool.acquire(self)
        if upstream is not None:
            self.connected(upstream)

    def request_whole(self, body: bytes) -> None:
        """Keep all of the request's body, which came with its head: it goes on with it."""
        self._request_over = True
        if self._sight is not None:
            self._sight.request_whole(body)
        if body:
            self._held.append(body)
            self._held_bytes = len(body)
            if len(body) > HELD_BYTES:
                self.upload_paused()

    def request_piece(self, piece: bytes) -> None:
        """Pass on a piece of the request's body."""
        if self.ending is not None:
            return
        if self._sight is not None:
            self._sight.request_piece(piece)
        if self.head.body is CHUNKED:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        if self._up is not None:
            self._send(self._up, piece)
            return
        self._held.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > HELD_BYTES:
            self.upload_paused()

    def request_over(self, trailers: list[bytes]) -> None:
        """Pass on the end of the request."""
        self._request_over = True
        if self._sight is not None:
            self._sight.request_over()
        if self.head.body is CHUNKED and self.ending is None:
            end = b"".join((b"0\r\n", *trailers, b"\r\n")) if trailers else _LAST_CHUNK
            if self._up is not None:
                self._send(self._up, end)
            else:
                self._held.append(end)

    @property
    def request_is_over(self) -> bool:
        """Whether all of the request has been read."""
        return self._request_over

    def client_left(self) -> None:
        """Cancel: the client went away."""
        self._end(Ending.LEFT)

    def refuse(self, fault: Fault) -> None:
        """Answer in the upstream's place, if nothing of an answer has been sent; break off otherwise."""
        self.fault = fault
        if self._answering:
            self._end(Ending.LEFT)
            self._down.break_off(reset=self._until_close)
            return
        self._end(Ending.REFUSED)
        self._answer_fault(fault)

    def download_paused(self) -> None:
        """Slow the upstream: the client reads too slowly."""
        if self._up is not None:
            self._up.pause()
        if self._sight is not None:
            self._sight.paused()

    def download_resumed(self) -> None:
        """Let the upstream go on."""
        if self._up is not None:
            self._up.resume()
        if self._sight is not None:
            self._sight.resumed()

    # --- from the pool

    def connected(self, upstream: "Upstream") -> None:
        """Send what there is of the request."""
        pool = self._pool
        assert pool is not None  # noqa: S101  # only a pool calls this
        self._up = upstream
        upstream.begin(self)
        if self._down.slow:
            upstream.pause()
        held, self._held = self._held, []
        self._replay = None
        rested = upstream.uses > 0 and pool.now() - upstream.rested_at >= RACE_SECONDS
        if rested and self._held_bytes <= pool.limits.replay_bytes:
            self._replay = held
            self._replay_bytes = self._held_bytes
        self._held_bytes = 0
        upstream.write(b"".join((self.head.wire(pool.authority, pool.prefix), *held)))
        if self._upload_paused:
            self.upload_resumed()

    def not_connected(self, fault: Fault) -> None:
        """Answer in the upstream's place."""
        self._fail(fault)

    # --- from the upstream

    def interim(self, head: ResponseHead) -> None:
        """Pass on a 1xx."""
        self._replay = None
        if self.head.http11:
            self._down.write(head.wire(b"", b""))

    def answer_head(self, head: ResponseHead) -> None:
        """Pass on the answer's head: at once, but in one piece with what came behind it."""
        if self._sight is not None:
            self._sight.answer_head(head)
        self._head_out = self._begin_answer(head)

    def answer_whole(self, head: ResponseHead, body: bytes) -> bool:
        """Pass on head and body in one piece."""
        if self._sight is not None:
            self._sight.answer_whole(head, body)
        self._down.write(self._begin_answer(head) + body)
        return True

    def _begin_answer(self, head: ResponseHead) -> bytes:
        """Settle how the answer's end will be told, and write its head."""
        self._replay = None
        self._answering = True
        http11 = self.head.http11
        framing = b""
        if head.body is LENGTH or (head.body is NO_BODY and head.length >= 0 and head.status != _NO_CONTENT):
            framing = b"content-length: %d\r\n" % head.length
        elif head.body is not NO_BODY:
            framing = b"transfer-encoding: chunked\r\n" if http11 else b""
            self._encoding = http11 and head.body is UNTIL_CLOSE
            self._until_close = not http11
        # An answer that overtakes its request is mostly an error: the rest of the request is not worth its way.
        if self._until_close or not self._request_over or self._down.closing:
            self._close_after = True
        connection = b""
        if self._close_after:
            connection = b"connection: close\r\n"
        elif not http11:
            connection = b"connection: keep-alive\r\n"
        return head.wire(framing, connection)

    def answer(self, data: bytes) -> None:
        """Pass on a part of the answer's body, which may be empty."""
        seen = data
        if self._encoding and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._write(data)
        if self._sight is not None and seen:
            self._sight.answer(seen)

    def answer_chunks(self, data: bytes, pieces: list[bytes]) -> None:
        """Pass on chunks just as they came; ``pieces`` is the content in them."""
        if self._until_close or self._head_out:
            self._write(b"".join(pieces) if self._until_close else data)
        else:
            self._down.write(data)
        sight = self._sight
        if sight is not None:
            for piece in pieces:
                sight.answer(piece)

    def answer_over(self, upstream: "Upstream", *, reusable: bool) -> None:
        """Pass on the end of the answer."""
        if self._encoding:
            self._down.write(_LAST_CHUNK)
        self._up = None
        if reusable and self._request_over and self._pool is not None:
            self._pool.release(upstream)
        else:
            upstream.abort()
        self._end(Ending.COMPLETE)
        self._down.exchange_over(self, close=self._close_after)

    def upstream_lost(self, fault: Fault | None) -> None:
        """Pass on that the upstream broke; ``fault`` says how, where it was not just the connection."""
        self._up = None
        if self._answering:
            self.fault = fault
            self._end(Ending.BROKEN)
            self._down.break_off(reset=self._until_close)
        elif fault is None and self._replay is not None and self._pool is not None:
            self._held, self._replay = self._replay, None
            self._held_bytes = self._replay_bytes
            upstream = self._pool.acquire(self, fresh=True)
            assert upstream is None  # noqa: S101  # a fresh one is never at hand
        else:
            self._fail(fault or Fault("upstream_closed", "the upstream closed the connection without an answer"))

    def upload_paused(self) -> None:
        """Slow the client: the upstream takes its bytes too slowly."""
        self._upload_paused = True
        self._down.pause_upload()

    def upload_resumed(self) -> None:
        """Let the client go on."""
        if self._upload_paused:
            self._upload_paused = False
            self._down.resume_upload()

    # --- inside

    def _write(self, data: bytes) -> None:
        if self._head_out:
            data, self._head_out = self._head_out + data, b""
        if data:
            self._down.write(data)

    def _send(self, upstream: "Upstream", data: bytes) -> None:
        if self._replay is not None and self._pool is not None:
            self._replay.append(data)
            self._replay_bytes += len(data)
            if self._replay_bytes > self._pool.limits.replay_bytes:
                self._replay = None
        upstream.write(data)

    def _fail(self, fault: Fault) -> None:
        self.fault = fault
        self._end(Ending.FAILED)
        self._answer_fault(fault)

    def _answer_fault(self, fault: Fault) -> None:
        close = self._close_after or not self._request_over or self._down.closing
        self._down.write(fault.render(close=close, body=not self.to_head))
        self._down.exchange_over(self, close=close)

    def _end(self, ending: Ending) -> None:
        if self.ending is not None:
            return
        self.ending = ending
        self._held.clear()
        self._replay = None
        upstream = self._up
        if upstream is not None:
            self._up = None
            upstream.abort()
        elif not self._answering and self._pool is not None:
            self._pool.forget(self)
        if self._sight is not None:
            self._sight.ended(ending, self.fault)
        self._down.settled(self)
