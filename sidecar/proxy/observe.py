"""What goes by, looked at: one `Sight` for each request, told of everything and delaying nothing.

It keeps measurements and names. No fault of its own reaches the bytes: it is counted, and the request goes unseen.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, cast

from sidecar.model import Profile, RateLimit
from sidecar.proxy.attempts import attempt_of, verdict_on
from sidecar.proxy.caller import Caller, read_caller
from sidecar.proxy.calls import again_within, call_of, refusal_of
from sidecar.proxy.correlate import Correlation, Key, Past
from sidecar.proxy.ending import Ending
from sidecar.proxy.errors import Fault
from sidecar.proxy.headers import RequestHead, ResponseHead
from sidecar.proxy.later import Later
from sidecar.proxy.origin import Origin
from sidecar.proxy.reading import FIRST_ERROR, Reading
from sidecar.proxy.request_scan import RequestScan
from sidecar.proxy.seen import Seen
from sidecar.proxy.shapes import Shape
from sidecar.proxy.traces import CallSpans
from sidecar.telemetry import Telemetry, Ticket
from sidecar.wire.ratelimit import parse_rate_limits

if TYPE_CHECKING:
    from sidecar.telemetry.in_flight import Flight

P = ParamSpec("P")

_LIMITS_FRESH: Final = 0.1
_MESSAGES: Final = "messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRule:
    """Which requests serve which use. An empty condition holds for all."""

    profile: Profile
    user_agent: str = ""
    """How the user agent begins."""
    model: str = ""
    """How the model's name begins."""


class Observer:
    """Makes a sight of each request, and records of what was seen."""

    def __init__(
        self,
        telemetry: Telemetry,
        origin: Origin,
        *,
        later: Later,
        calls: Correlation,
        shape: Shape = Shape.ANTHROPIC,
        profile: Profile = Profile.DEFAULT,
        rules: Sequence[ProfileRule] = (),
        spans: CallSpans | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.telemetry: Final = telemetry
        self.origin: Final = origin
        self.clock: Final = clock
        self.wall: Final = wall
        self.calls: Final = calls
        self.later: Final = later
        self.spans: Final = spans
        self.shape: Final = shape
        self._profile = profile
        self._rules = tuple(rules)
        self._limits_due = 0.0

    def sight(self, head: RequestHead, profile: Profile | None = None) -> "Sight":
        """Begin to look at a request; ``profile`` is its listener's, if that has one."""
        return Sight(self, head, profile)

    def caller_of(self, head: RequestHead) -> Caller:
        """Read who asks; requests that share a head are read once."""
        notes = head.notes
        if notes is None or notes[0] is not self:
            notes = head.notes = (self, read_caller(head, self.shape))
        return cast("Caller", notes[1])

    def profile_of(self, caller: Caller, model: str, listener: Profile | None) -> Profile:
        """Say which use a request serves: its header's, else the first rule's that fits, else the listener's."""
        if caller.profile is not None:
            return caller.profile
        for rule in self._rules:
            if caller.agent.startswith(rule.user_agent) and model.startswith(rule.model):
                return rule.profile
        return listener or self._profile

    def limits_of(self, head: ResponseHead | None, now: float) -> tuple[RateLimit, ...]:
        """Read an answer's rate limits, if the last ones read are not fresh still: only the newest are ever shown."""
        if head is None or now < self._limits_due:
            return ()
        limits = parse_rate_limits(head.rate_limits())
        if limits:
            self._limits_due = now + _LIMITS_FRESH
        return limits


def _guarded(method: "Callable[Concatenate[Sight, P], None]") -> "Callable[Concatenate[Sight, P], None]":
    @wraps(method)
    def wrapper(self: "Sight", *args: P.args, **kwargs: P.kwargs) -> None:
        if self.blind:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, the bytes do not suffer from it
            self.go_blind(error)

    return cast("Callable[Concatenate[Sight, P], None]", wrapper)


class Sight(Seen):
    """One request as it goes by: measured at once, made sense of later."""

    __slots__ = (
        "_asking",
        "_body",
        "_clock",
        "_ending",
        "_fault",
        "_flight",
        "_key",
        "_listener",
        "_look",
        "_observer",
        "_over_at",
        "_past",
        "_put_off",
        "_scan",
        "_ticket",
        "_unread",
        "_whole",
        "blind",
    )

    def __init__(self, observer: Observer, head: RequestHead, listener: Profile | None = None) -> None:
        # Not by super(): this is done for each request, and naming the class takes half as long.
        Seen.__init__(self, head, observer.caller_of(head), observer.clock(), observer.wall())
        self._observer = observer
        self._listener = listener
        self._asking = True  # what it asks for is still to be found out
        self._body = b""  # of the request, where it came in one piece
        self._scan: RequestScan | None = None  # of a body that comes in several
        self._whole: bytes | None = None  # the answer's body, where it came in one piece
        self._key: Key = ()
        self._past: Past | None = None
        self._ticket: Ticket | None = None
        self._flight: Flight | None = None  # of the ticket: both are held, as fewer things are touched for each chunk
        self._clock = observer.clock
        self._look: Callable[[bytes], bool] | None = None  # takes a part of the answer's body
        self._unread = False  # nobody waits for the next byte
        self._put_off = False  # it waits to be settled
        self._ending: Ending | None = None  # until it is told
        self._fault: Fault | None = None
        self._over_at = 0.0
        self.blind = False
        """Looking is over, or has failed; nothing more is seen of this request."""

    def go_blind(self, error: Exception) -> None:
        """Count a fault of our own, and look no further."""
        self.blind = True
        self._scan = self._whole = None
        self._body = b""
        if self._ticket is not None:
            self._ticket.end()
        self._observer.telemetry.internal_error("proxy observation", error)

    # What comes with each request is guarded in place: a wrapper would cost as much as some of it.

    def request_whole(self, body: bytes) -> None:
        """Take all of the request's body, which came with its head; the wait for the answer has begun."""
        if self.blind:
            return
        self._body = body
        try:
            self._later()
        except Exception as error:  # noqa: BLE001  # whatever it is, the bytes do not suffer from it
            self.go_blind(error)

    def request_piece(self, piece: bytes) -> None:
        """Take a piece of the request's body."""
        if self.blind or not self._asking:
            return
        try:
            if self._scan is None:
                self._scan = RequestScan()
            self._scan.feed(piece)
        except Exception as error:  # noqa: BLE001  # as above
            self.go_blind(error)

    def request_over(self) -> None:
        """Take note that all of the request has come; the wait for the answer begins."""
        if self.blind or self._ending is not None:
            return
        try:
            self.last = self._observer.clock()
            self._later()
        except Exception as error:  # noqa: BLE001  # as above
            self.go_blind(error)

    def answer_head(self, head: ResponseHead) -> None:
        """Take the answer's head."""
        if self.blind:
            return
        try:
            self.last = now = self._observer.clock()
            self.first_byte = now - self.began
            self.reply = head
            self._look = self._reading_of(head).look
            if self._flight is not None and not self._unread:
                self._flight.silent_since = now
        except Exception as error:  # noqa: BLE001  # as above
            self.go_blind(error)

    def answer_whole(self, head: ResponseHead, body: bytes) -> None:
        """Take the answer's head and all of its body."""
        if self.blind:
            return
        try:
            self.last = now = self._observer.clock()
            self.first_byte = now - self.began
            self.reply = head
            self._whole = body
            if self._flight is not None:
                self._flight.silent_since = now
        except Exception as error:  # noqa: BLE001  # as above
            self.go_blind(error)

    def answer(self, data: bytes) -> None:
        """Take a part of the answer's body. This is called for every chunk."""
        look = self._look
        if look is None or self.blind:
            return
        try:
            now = self._clock()
            last = self.last
            if now - last > self.max_gap:
                self.max_gap = now - last
                self.max_gap_at = last - self.began
            self.last = now
            if self._flight is not None and not self._unread:  # passing it on may have shown that nobody reads
                self._flight.silent_since = now
            if look(data) and self.first_token is None:
                scanner = cast("Reading", self.reading).scanner
                if scanner is not None and scanner.first_delta:
                    self.first_token = now - self.began
        except Exception as error:  # noqa: BLE001  # as above
            self.go_blind(error)

    @_guarded
    def paused(self) -> None:
        """Take note that nobody waits for the upstream: the client reads too slowly."""
        self._unread = True
        if self._ticket is not None:
            self._ticket.idle()

    @_guarded
    def resumed(self) -> None:
        """Take note that the next byte is waited for again."""
        self._unread = False
        self.last = self._observer.clock()
        if self._ticket is not None:
            self._ticket.waiting()

    def ended(self, ending: Ending, fault: Fault | None) -> None:
        """Take the end."""
        if self.blind:
            return
        try:
            self._over_at = self._observer.clock()
            self._ending = ending
            self._fault = fault
            if self._ticket is not None:
                self._ticket.end()
            self._later()
        except Exception as error:  # noqa: BLE001  # as above
            self.go_blind(error)

    def settle(self) -> None:
        """Make sense of what was seen so far, and tell of it if that is all."""
        self._put_off = False
        if self.blind:
            return
        try:
            if self._asking:
                self._settle_request()
            if self._ending is not None:
                if self._whole is not None and self.reply is not None:
                    self._read(self.reply, self._whole)
                self._tell(self._ending)
                self.blind = True
        except Exception as error:  # noqa: BLE001  # as above
            self.go_blind(error)

    # --- inside

    def _later(self) -> None:
        if not self._put_off:
            self._put_off = True
            self._observer.later.add(self)

    def _reading_of(self, head: ResponseHead) -> Reading:
        self.reading = reading = Reading(head, message=self.caller.told.endpoint == _MESSAGES)
        return reading

    def _read(self, head: ResponseHead, body: bytes) -> None:
        """Look into an answer that came in one piece: when it came is known."""
        reading = self._reading_of(head)
        if body and reading.feed(body) and reading.scanner is not None and reading.scanner.first_delta:
            self.first_token = self.first_byte

    def _settle_request(self) -> None:
        self._asking = False
        scan = self._scan or RequestScan()
        self._scan = None
        if self._body:
            scan.feed(self._body)
            self._body = b""
        observer, caller = self._observer, self.caller
        told = caller.told
        asked = scan.asked()
        if told.model:
            asked = asked._replace(model=told.model, stream=asked.stream or told.stream)
        self.asked = asked
        self.profile = observer.profile_of(caller, asked.model, self._listener)
        if caller.number == 0 and self._ending is not None:
            self._scan = scan  # only if it failed is it asked what a retry will have in common with it
        else:
            self._key = (caller.key, scan.fingerprint)
        if caller.number != 0:  # else nothing came before it
            self._past = observer.calls.past(self._key, self.began, self.started_at, number=caller.number)
        if observer.spans is not None and self.trace is None:
            self.trace = (None if self._past is None else self._past.trace) or observer.spans.begin(
                caller, asked, self.profile, started_at=self.started_at, origin=observer.origin
            )
        in_flight = observer.telemetry.in_flight
        start = (told.endpoint, asked.model, caller.source, self.profile, asked.stream)
        if self._ending is not None:
            in_flight.show(start)
            return
        self._ticket = in_flight.take_up(start, self.began)
        self._flight = self._ticket.flight
        if not self._unread:
            self._flight.silent_since = self.last

    def _tell(self, ending: Ending) -> None:
        observer, past, fault, now = self._observer, self._past, self._fault, self._over_at
        later, origin = observer.later, observer.origin
        if ending is Ending.REFUSED:
            later.records.append(refusal_of(self, fault, now, origin=origin))
            return
        verdict = verdict_on(self, ending, fault, now)
        limits = observer.limits_of(self.reply, now)
        number = 0 if past is None else past.attempts
        attempt = attempt_of(self, verdict, now, origin=origin, number=number, limits=limits)
        later.records.append(attempt)
        call = call_of(self, attempt, now)
        again = again_within(self, verdict)
        if past is None:
            if again is None:  # the first attempt, and the last: that is all of the call
                later.records.append(call)
                return
            past = Past(first=self.began, started_at=self.started_at)
        later.count()  # who puts calls together may tell of one at once
        if self._scan is not None:
            self._key = (self.caller.key, self._scan.fingerprint)
        known = None
        if attempt.status is not None and attempt.status >= FIRST_ERROR and self.first_byte is not None:
            known = self.began + self.first_byte  # it says so at once
        observer.calls.ended(self._key, past, call, began=self.began, now=now, again_within=again, known=known)
