"""One attempt upstream, with a limit on every phase of it. It knows no client, and decides nothing after its end."""

from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.model import Outcome, Phase, Verdict
from sidecar.proxy import exchange
from sidecar.proxy.attempts import FAULTS
from sidecar.proxy.errors import Fault
from sidecar.proxy.headers import ResponseHead

if TYPE_CHECKING:
    from sidecar.policy import Timeouts
    from sidecar.proxy.pool import Pool
    from sidecar.proxy.upstream import Upstream
    from sidecar.proxy.wheel import Wheel

_EARLY: Final = 0.001
"""Timers may fire this much before their time."""
_BROKEN: Final = Verdict(Outcome.CONNECTION_ERROR)


class Owner(Protocol):
    """Whose attempt it is, and who has the request.

    What ends the attempt (``attempt_over``, ``attempt_failed``) is told once, and nothing after it.
    """

    @property
    def slow(self) -> bool:
        """Whether nobody would take what came now."""

    def request(self) -> bytes:
        """Give what there is of the request, from its head on."""

    def answer_head(self, head: ResponseHead) -> None:
        """Take the answer's head."""

    def answer_data(self, data: bytes) -> None:
        """Take a part of its body."""

    def attempt_over(self, trailers: list[bytes]) -> None:
        """Take its end, with the header lines behind it."""

    def attempt_failed(self, verdict: Verdict, fault: Fault) -> None:
        """Take an end that is none: what it was, and how to put it to the client."""

    def upload_paused(self) -> None:
        """Give less to ``send``: the upstream takes bytes too slowly."""

    def upload_resumed(self) -> None:
        """Give on."""


class Attempt:
    """One HTTP request. Where it is not ``whole``, what the owner cannot give at once is given to ``send``."""

    __slots__ = (
        "_answering",
        "_fresh",
        "_limit",
        "_over",
        "_owner",
        "_paused",
        "_phase",
        "_pool",
        "_since",
        "_timeouts",
        "_timer",
        "_total_due",
        "_up",
        "_wheel",
        "_whole",
    )

    to_head: Final = False
    """Only POST is protected."""

    def __init__(self, owner: Owner, pool: "Pool", wheel: "Wheel", timeouts: "Timeouts", *, whole: bool) -> None:
        self._owner = owner
        self._pool = pool
        self._wheel = wheel
        self._timeouts = timeouts
        self._whole = self._over = whole
        self._up: Upstream | None = None
        self._answering = False
        self._paused = False  # by the client: no silence counts
        self._fresh = False  # a connection nobody has used is asked for
        self._timer = wheel.timer(self._expired)
        self._phase = Phase.CONNECT
        self._since = wheel.now()
        self._limit = inf
        self._total_due = inf if timeouts.total is None else self._since + timeouts.total

    def start(self) -> None:
        """Ask for a connection."""
        pool = self._pool
        if pool.size < pool.limits.upstream_connections:
            self._enter(Phase.CONNECT, self._timeouts.connect)
        else:
            self._enter(Phase.POOL, self._timeouts.pool)
        upstream = pool.acquire(self)
        if upstream is not None:
            self.connected(upstream)

    @property
    def is_connected(self) -> bool:
        """Whether bytes can be given to ``send``."""
        return self._up is not None

    def send(self, data: bytes) -> None:
        """Send more of the body."""
        if self._up is not None:
            self._up.write(data)

    def request_over(self) -> None:
        """Note that all of the body was given."""
        self._over = True
        if self._up is not None and not self._answering and self._phase is not Phase.WRITE:
            self._enter(Phase.FIRST_BYTE, self._timeouts.first_byte)

    def pause(self) -> None:
        """Read no further: the client is too slow."""
        self._paused = True
        if self._up is not None:
            self._up.pause()

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        self._since = self._wheel.now()  # the silence was ours
        if self._up is not None:
            self._up.resume()
        self._set_timer()

    def cancel(self) -> None:
        """Stop at once; the owner hears nothing more."""
        self._timer.close()
        upstream, self._up = self._up, None
        if upstream is not None:
            upstream.abort()
        elif not self._answering:
            self._pool.forget(self)

    # --- from the pool

    def connected(self, upstream: "Upstream") -> None:
        """Send what there is of the request."""
        self._up = upstream
        upstream.begin(self)
        if self._owner.slow:
            self.pause()
        if self._over:
            self._enter(Phase.FIRST_BYTE, self._timeouts.first_byte)
        else:
            self._enter(Phase.FIRST_BYTE, None)  # it is the client who sends
        upstream.write(self._owner.request())

    def not_connected(self, fault: Fault) -> None:
        """End without a connection."""
        self._fail(_verdict(fault), fault)

    # --- from the upstream

    def interim(self, head: ResponseHead) -> None:
        """Pass over a 1xx: the body was not held back for it."""

    def answer_head(self, head: ResponseHead) -> None:
        """Take the answer's head."""
        self._answering = True
        self._enter(Phase.STALL, self._timeouts.stall)
        self._owner.answer_head(head)

    def answer_whole(self, head: ResponseHead, body: bytes) -> bool:
        """Take head and body."""
        self.answer_head(head)
        if self._up is None:
            return False
        self.answer(body)
        return True

    def answer(self, data: bytes) -> None:
        """Take a part of its body."""
        self._since = self._wheel.now()
        if data:
            self._owner.answer_data(data)

    def answer_chunks(self, data: bytes, pieces: list[bytes]) -> None:  # noqa: ARG002  # chunks are written anew
        """Take what is in chunks of its body."""
        self.answer(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def answer_over(self, upstream: "Upstream", *, reusable: bool) -> None:
        """Take its end."""
        self._timer.close()
        if self._up is None:
            upstream.abort()  # the owner needed no more of it
            return
        self._up = None
        trailers = upstream.trailers
        if reusable and self._over:
            self._pool.release(upstream)
        else:
            upstream.abort()
        self._owner.attempt_over(trailers)

    def upstream_lost(self, fault: Fault | None) -> None:
        """Take note that the connection is gone."""
        upstream, self._up = self._up, None
        if self._answering:
            stalled = fault is not None and fault.code == "upstream_silent"
            verdict = Verdict(Outcome.TIMEOUT, Phase.STALL) if stalled else _verdict(fault)
            self._fail(verdict, fault or Fault("upstream_closed", "the upstream closed the connection in its answer"))
        elif fault is None and upstream is not None and self._met_a_rest(upstream):
            # It was being closed just as the request was sent on it: that was no attempt.
            self._fresh = True
            self._enter(Phase.CONNECT, self._timeouts.connect)
            self._pool.acquire(self, fresh=True)
        else:
            gone = Fault("upstream_closed", "the upstream closed the connection without an answer")
            self._fail(_verdict(fault), fault or gone)

    def upload_paused(self) -> None:
        """Wait for the upstream to take what was sent."""
        if not self._answering:
            self._enter(Phase.WRITE, self._timeouts.write)
        if not self._whole:
            self._owner.upload_paused()

    def upload_resumed(self) -> None:
        """Go on sending, or begin to wait for the answer."""
        if not self._answering:
            self._enter(Phase.FIRST_BYTE, self._timeouts.first_byte if self._over else None)
        if not self._whole:
            self._owner.upload_resumed()

    # --- inside

    def _met_a_rest(self, upstream: "Upstream") -> bool:
        rested = self._since - upstream.rested_at >= exchange.RACE_SECONDS
        return upstream.uses > 0 and rested and self._whole and not self._fresh

    def _enter(self, phase: Phase, limit: float | None) -> None:
        self._phase = phase
        self._since = self._wheel.now()
        self._limit = inf if limit is None else limit
        self._set_timer()

    def _set_timer(self) -> None:
        due = min(inf if self._paused else self._since + self._limit, self._total_due)
        if due == inf:
            self._timer.off()
        else:
            self._timer.at(due)

    def _expired(self) -> None:
        now = self._wheel.now() + _EARLY
        if now >= self._total_due:
            phase, limit = Phase.DEADLINE, self._timeouts.total
        elif now >= self._since + self._limit and not self._paused:
            phase, limit = self._phase, self._limit
        else:
            self._set_timer()
            return
        code = f"{phase.value}_timeout"
        self._fail(Verdict(Outcome.TIMEOUT, phase), Fault(code, f"{_EXPIRED[phase]} {limit:.3g} s"))

    def _fail(self, verdict: Verdict, fault: Fault) -> None:
        self.cancel()
        self._owner.attempt_failed(verdict, fault)


_EXPIRED: Final = {
    Phase.CONNECT: "no connection to the upstream within",
    Phase.POOL: "no free connection to the upstream within",
    Phase.WRITE: "the upstream took nothing of the request for",
    Phase.FIRST_BYTE: "the upstream did not begin to answer within",
    Phase.STALL: "the upstream fell silent in its answer for",
    Phase.DEADLINE: "the call's time ran out; for this attempt it had",
}


def _verdict(fault: Fault | None) -> Verdict:
    return _BROKEN if fault is None else FAULTS.get(fault.code, _BROKEN)
