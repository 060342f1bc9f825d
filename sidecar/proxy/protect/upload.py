"""A request on its way: its body kept while it may have to be sent again, or passed on once where it is too large."""

from sidecar.proxy.framing import Body
from sidecar.proxy.headers import RequestHead
from sidecar.proxy.protect.upgrade import asking_for_stream, sized, streaming


class Room:
    """How many bytes all spools together may keep."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Spool:
    """One request's body. It keeps all it is given; whether that may go on, ``whole`` says."""

    __slots__ = ("_kept", "_limit", "_pieces", "_room", "size", "whole")

    def __init__(self, room: Room, limit: int) -> None:
        self._room = room
        self._limit = limit
        self._pieces: list[bytes] = []
        self._kept = 0
        self.size = 0
        """How long the body is so far."""
        self.whole = True
        """All of the body so far is kept, and may be. Once it is not, it never is again."""

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        self._pieces.append(piece)
        self.size += len(piece)
        self._kept += len(piece)
        self._room.used += len(piece)
        if self.size > self._limit or self._room.used > self._room.limit:
            self.whole = False

    def body(self) -> bytes:
        """Give all that is kept, as one piece, and go on keeping it."""
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    def replace(self, body: bytes) -> None:
        """Keep this in place of what came."""
        self._room.used += len(body) - self._kept
        self._kept = len(body)
        self._pieces = [body]

    def empty(self) -> None:
        """Keep nothing of what has come so far."""
        self._room.used -= self._kept
        self._kept = 0
        self._pieces.clear()
        self.whole = False


class Upload:
    """One request, from what the client sends to what the upstream is sent."""

    __slots__ = ("_chunked", "_end", "_head", "_spool", "_trailed", "over", "spilled", "upgraded")

    def __init__(self, head: RequestHead, spool: Spool) -> None:
        self._head = head
        self._spool = spool
        self._chunked = head.body is Body.CHUNKED
        self._end = b""
        self._trailed = False  # only chunks can have trailers behind them
        self.over = False
        """All of it has come."""
        self.spilled = False
        """It is too large to be kept: it goes on as it comes, and can be sent once only."""
        self.upgraded = False
        """It asks for a stream, which the client did not."""

    def keep(self, piece: bytes) -> None:
        """Keep a piece of the body; of one that is spilled, until ``request`` gives it."""
        self._spool.add(piece)
        self.spilled = not self._spool.whole

    def framed(self, piece: bytes) -> bytes:
        """Put a piece as it is passed on."""
        return b"%x\r\n%b\r\n" % (len(piece), piece) if piece and self._chunked else piece

    def finish(self, trailers: list[bytes]) -> bytes:
        """Take the end; give what is left to pass on of a body that was given already."""
        self.over = True
        self._end = b"".join((b"0\r\n", *trailers, b"\r\n")) if self._chunked else b""
        self._trailed = bool(trailers)
        return self._end

    def prepare(self, *, upgrade: bool) -> None:
        """Make of a request that is whole what is sent of it."""
        body = self._spool.body()
        edited = streaming(body) if upgrade else None
        framing = self._head.body, self._head.length
        self._head = sized(self._head, body if edited is None else edited)
        if self._trailed:
            self._head.body, self._head.length = framing
        if edited is not None:
            self.upgraded = True
            self._spool.replace(edited)
            self._head = asking_for_stream(self._head)

    def request(self, authority: bytes, prefix: bytes) -> bytes:
        """Give what there is of it, from its head on."""
        head = self._head.wire(authority, prefix)
        if not self.spilled:
            body = self._spool.body()
            return head + self.framed(body) + self._end if self._trailed else head + body
        body = self.framed(self._spool.body())
        self._spool.empty()
        return head + body + self._end

    def forget(self) -> None:
        """Keep nothing of it any more: it will not be sent again."""
        self._spool.empty()
