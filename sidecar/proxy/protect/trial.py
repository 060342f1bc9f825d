"""One attempt with all that belongs to it: what was seen of it, and its answer on the way to the client.

It tells its owner once how it ended; what comes of that is not its affair.
"""

from typing import TYPE_CHECKING, Final, Protocol

from sidecar.model import Outcome, StreamEnd, Verdict
from sidecar.policy import NO_HINTS, Ended, Hints, Timeouts, parse_hints
from sidecar.proxy.errors import Fault
from sidecar.proxy.headers import ResponseHead
from sidecar.proxy.protect.answer import Answer
from sidecar.proxy.protect.attempt import Attempt
from sidecar.proxy.protect.reply import Reply
from sidecar.proxy.protect.upload import Upload
from sidecar.proxy.protect.watch import Look, Watch

if TYPE_CHECKING:
    from sidecar.proxy.pool import Pool
    from sidecar.proxy.protect.shield import Shield

_WHITE_SPACE: Final = b" "


class Trying(Protocol):
    """Whose trial it is."""

    @property
    def slow(self) -> bool:
        """Whether the client reads too slowly."""

    @property
    def close(self) -> bool:
        """Whether the client's connection ends with this answer."""

    def upload_paused(self) -> None:
        """Slow the client: the upstream takes its bytes too slowly."""

    def upload_resumed(self) -> None:
        """Let the client go on."""

    def tried(self, verdict: Verdict) -> None:
        """Take the end."""


class Trial:
    """One attempt."""

    __slots__ = (
        "_attempt",
        "_keep_alive",
        "_look",
        "_owner",
        "_pool",
        "_reply",
        "_shield",
        "_upload",
        "_watch",
        "_white_space",
        "answer",
        "fault",
    )

    def __init__(
        self,
        owner: Trying,
        shield: "Shield",
        pool: "Pool",
        timeouts: Timeouts,
        *,
        upload: Upload,
        reply: Reply,
        watch: Watch,
    ) -> None:
        self._owner = owner
        self._shield = shield
        self._pool = pool
        self._upload = upload
        self._reply = reply
        self._watch = watch
        self._look = Look(shield.clock)
        self._keep_alive = shield.settings.keep_alive_seconds or 0.0
        self._white_space = shield.wheel.timer(self._send_white_space)
        self._attempt = Attempt(self, pool, shield.wheel, timeouts, whole=upload.over or not upload.spilled)
        self.answer: Answer | None = None
        """What came of it, as far as it is worth anything."""
        self.fault: Fault | None = None
        """What else there is to say of it."""

    def start(self) -> None:
        """Begin."""
        self._watch.waiting()
        self._attempt.start()

    def send(self, piece: bytes) -> bool:
        """Send more of the body; False where it has to be kept until there is a connection."""
        if self._attempt.is_connected:
            self._attempt.send(piece)
            return True
        return False

    def request_over(self) -> None:
        """Note that all of the body has come."""
        self._attempt.request_over()

    def pause(self) -> None:
        """Read no further."""
        self._attempt.pause()

    def resume(self) -> None:
        """Read on."""
        self._attempt.resume()
        self._look.resumed()

    def cancel(self) -> Ended:
        """Stop at once: the client went away. Says what it was."""
        self._white_space.close()
        self._attempt.cancel()
        verdict = self._watch.hung_up(answering=self._reply.begun)
        if self.answer is not None and self.answer.assembly is None:
            verdict = self._look.verdict(StreamEnd.CLOSED, verdict)
        return self.ended(verdict, delivered=True)

    def ended(self, verdict: Verdict, *, delivered: bool = False) -> Ended:
        """Tell of it, and put it to the planner."""
        look = self._look
        self._watch.attempt_ended(look, verdict, stream=self._watch.asked.stream or self._upload.upgraded)
        return Ended(
            verdict=verdict,
            duration=look.duration if look.first_byte is None else look.first_byte,
            status=None if look.head is None else look.head.status,
            hints=NO_HINTS if look.head is None else self.hints(look.head),
            delivered=delivered or self._reply.begun or self._upload.spilled,
        )

    def hints(self, head: ResponseHead) -> Hints:
        """Read what an answer says of trying again."""
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.watched.items()}
        return parse_hints(told, unix_now=self._shield.wall())

    # --- from the attempt

    @property
    def slow(self) -> bool:
        """Whether the client reads too slowly."""
        return self._owner.slow

    def request(self) -> bytes:
        """Give what there is of the request."""
        if self._upload.spilled:
            self._owner.upload_resumed()
        return self._upload.request(self._pool.authority, self._pool.prefix)

    def answer_head(self, head: ResponseHead) -> None:
        """Take the answer's head, and pass it on if the answer is."""
        self._look.answer_head(head)
        self._watch.waiting()
        upgrade_bytes = self._shield.settings.upgrade_bytes if self._upload.upgraded else None
        self.answer = answer = Answer(head, self._look, self._reply, upgrade_bytes=upgrade_bytes)
        if answer.passes:
            self._reply.begin(head, close=self._owner.close)
            self._upload.forget()
            self._watch.delivered()
        elif answer.assembly is not None and self._keep_alive and self._reply.can_wait:
            self._white_space.after(self._keep_alive)

    def answer_data(self, data: bytes) -> None:
        """Take a part of the answer's body."""
        answer = self.answer
        assert answer is not None  # noqa: S101  # its head came first
        self._look.data(data)
        answer.data(data, close=self._owner.close)
        if answer.passes:
            self._watch.delivered()
        else:
            self._watch.waiting()
        if self._owner.slow:  # passing it on has shown that the client reads too slowly
            self._watch.idle()
        if answer.assembly is not None and answer.assembly.is_hopeless:
            self._attempt.cancel()  # nothing that may follow makes it better
            self._end(answer.verdict(None))

    def attempt_over(self, trailers: list[bytes]) -> None:
        """Take the end of a complete answer."""
        assert self.answer is not None  # noqa: S101  # the same
        self.answer.over(trailers)
        self._end(self.answer.verdict(None))

    def attempt_failed(self, verdict: Verdict, fault: Fault) -> None:
        """Take an end that is none."""
        answer = self.answer
        self.fault = fault
        if answer is not None:
            verdict = answer.verdict(verdict)
            if answer.assembly is not None and not answer.assembly.over:
                self.answer = None  # half a message is worth nothing
                if verdict.outcome is not Outcome.TIMEOUT:
                    message = "the upstream's stream broke off before its message was complete"
                    self.fault = Fault("stream_broken", message)
        self._end(verdict)

    def upload_paused(self) -> None:
        """Slow the client: the upstream takes its bytes too slowly."""
        self._owner.upload_paused()

    def upload_resumed(self) -> None:
        """Let the client go on."""
        self._owner.upload_resumed()

    # --- inside

    def _end(self, verdict: Verdict) -> None:
        self._white_space.close()
        self._owner.tried(verdict)

    def _send_white_space(self) -> None:
        """Show the client, and whatever stands in between, that the answer is on its way."""
        assert self.answer is not None  # noqa: S101  # it is what is waited for
        if not self._reply.begun:
            self._reply.begin_json(self.answer.head, close=self._owner.close)
            self._upload.forget()
        if not self._owner.slow:
            self._reply.data(_WHITE_SPACE)
        self._watch.delivered()
        self._white_space.after(self._keep_alive)
