"""One protected request: kept until it is whole, planned, tried, answered once. The planner decides, this acts.

It serves a `Downstream` as the plain exchange does. Each attempt is a `Trial`; what its bytes are is not known here.
"""

from typing import TYPE_CHECKING, Final

from sidecar.model import Outcome, Profile, Verdict
from sidecar.policy import (
    NO_HINTS,
    Because,
    BreakerOpen,
    CallPlan,
    Deadline,
    Hints,
    Send,
    Step,
    Stop,
    WaitFor,
)
from sidecar.proxy.ending import Ending
from sidecar.proxy.errors import Fault
from sidecar.proxy.headers import RequestHead
from sidecar.proxy.protect.reply import Reply
from sidecar.proxy.protect.trial import Trial
from sidecar.proxy.protect.upload import Spool, Upload
from sidecar.proxy.protect.watch import Watch

if TYPE_CHECKING:
    from sidecar.policy import Timeouts
    from sidecar.proxy.downstream import Downstream
    from sidecar.proxy.observe import Observer
    from sidecar.proxy.pool import Pool
    from sidecar.proxy.protect.gate import Lane
    from sidecar.proxy.protect.shield import Shield

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_OVERLOAD: Final = 503
_GAVE_UP: Final = frozenset({Because.ATTEMPTS, Because.BUDGET, Because.BREAKER, Because.DEADLINE})


class ProtectedExchange:
    """One request's life under protection."""

    __slots__ = (
        "_begun",
        "_deadline",
        "_down",
        "_inside",
        "_lane",
        "_last",
        "_observer",
        "_plan",
        "_pool",
        "_profile",
        "_queued",
        "_reply",
        "_shield",
        "_timer",
        "_trial",
        "_upload",
        "_wait",
        "_wait_began",
        "_watch",
        "admitted",
        "ending",
        "fault",
        "head",
    )

    def __init__(self, downstream: "Downstream", head: RequestHead, shield: "Shield", observer: "Observer") -> None:
        self._down = downstream
        self._shield = shield
        self._observer = observer
        self._watch = Watch(observer, head, downstream.profile)
        self._upload = Upload(head, Spool(shield.room, shield.settings.spool_bytes))
        self._reply = Reply(downstream, head)
        self._pool: Pool | None = None
        self._profile = Profile.DEFAULT
        self._plan: CallPlan | None = None
        self._deadline: Deadline | None = None
        self._begun = False
        self._lane: Lane = (head.upstream, "")
        self._queued = False
        self._inside = False  # counts among those under way upstream
        self._wait: WaitFor | None = None
        self._wait_began = 0.0
        self._timer = shield.wheel.timer(self._waited)
        self._trial: Trial | None = None  # the attempt that is under way
        self._last: Trial | None = None  # the one that has ended, until the next begins
        self.head = head
        self.admitted = False
        """It counts as under way."""
        self.ending: Ending | None = None
        self.fault: Fault | None = None

    # --- from the client's side

    def start(self, pool: "Pool") -> None:
        """Begin, once the body is here, or too large to wait for."""
        self._pool = pool
        if self._upload.over or self._upload.spilled:
            self._begin()
        elif self.head.http11 and b"\r\nexpect:" in b"\r\n" + self.head.fields.lower():
            self._down.write(_CONTINUE)  # in the upstream's place, which is not asked before the body is here

    def request_whole(self, body: bytes) -> None:
        """Keep all of the request's body."""
        if body:
            self.request_piece(body)
        self.request_over([])

    def request_piece(self, piece: bytes) -> None:
        """Keep a piece of the request's body, or pass it on."""
        if self.ending is not None:
            return
        self._watch.request_piece(piece)
        upload = self._upload
        if upload.spilled and self._trial is not None and self._trial.send(upload.framed(piece)):
            return
        upload.keep(piece)
        if upload.spilled:
            self._down.pause_upload()
            if self._pool is not None:
                self._begin()

    def request_over(self, trailers: list[bytes]) -> None:
        """Take the end of the request."""
        end = self._upload.finish(trailers)
        if self.ending is not None:
            return
        self._watch.request_over()
        if self._trial is not None:
            self._trial.send(end)  # else it is given with the rest
            self._trial.request_over()
        elif self._pool is not None:
            self._begin()

    @property
    def request_is_over(self) -> bool:
        """Whether all of the request has been read."""
        return self._upload.over

    def client_left(self) -> None:
        """Cancel whatever is under way."""
        if self.ending is None:
            self._cancel(Ending.LEFT)

    def refuse(self, fault: Fault) -> None:
        """Answer with this, if nothing of an answer has been sent; break off otherwise."""
        self.fault = fault
        if self._reply.begun:
            self._cancel(Ending.LEFT)
            self._down.break_off(reset=self._reply.until_close)
        elif self._plan is not None:
            self._cancel(Ending.REFUSED, fault)
            self._answer_fault(fault)
        else:
            self._reject(fault)

    def download_paused(self) -> None:
        """Slow the upstream: the client reads too slowly."""
        if self._trial is not None:
            self._trial.pause()
        self._watch.idle()

    def download_resumed(self) -> None:
        """Let the upstream go on."""
        if self._trial is not None:
            self._trial.resume()
        self._watch.waiting()

    # --- from the queue

    def entered(self) -> None:
        """Go ahead: its turn has come."""
        self._queued = False
        self._inside = True
        self._follow(self._planned.next())

    def not_entered(self, fault: Fault) -> None:
        """Give up: its turn did not come."""
        self._queued = False
        if self._deadline is not None and self._deadline.remaining() <= 0:
            self._follow(self._planned.next())
        elif self._watch.attempts:
            self._finish(self._planned.cancelled())
        else:
            self._reject(fault)

    # --- from the trial

    @property
    def slow(self) -> bool:
        """Whether the client reads too slowly."""
        return self._down.slow

    @property
    def close(self) -> bool:
        """Whether the client's connection ends with this answer."""
        return not self.head.keep_alive or not self._upload.over or self._down.closing

    def upload_paused(self) -> None:
        """Slow the client: the upstream takes its bytes too slowly."""
        self._down.pause_upload()

    def upload_resumed(self) -> None:
        """Let the client go on."""
        self._down.resume_upload()

    def tried(self, verdict: Verdict) -> None:
        """Take the end of an attempt, and ask the plan what comes next."""
        trial, self._trial = self._trial, None
        assert trial is not None  # noqa: S101  # it is the one that ended
        self._last = trial
        self._follow(self._planned.ended(trial.ended(verdict)))

    # --- the plan

    @property
    def _planned(self) -> CallPlan:
        assert self._plan is not None  # noqa: S101  # only asked for once there is one
        return self._plan

    @property
    def _host(self) -> str:
        return self._observer.origin.host

    def _is_final(self, stop: Stop) -> bool:
        """Say whether the proxy gave up where it does try again: no client is to do so on top of that."""
        settings = self._shield.settings
        retries = settings.policies[self._profile].retry.max_attempts > 1
        return retries and not settings.clients_retry and not self._upload.spilled and stop.because in _GAVE_UP

    def _begin(self) -> None:
        """Make the plan, and follow it."""
        if self._begun or self.ending is not None:
            return
        self._begun = True
        shield = self._shield
        self._profile = self._watch.decide(over=self._upload.over)
        try:
            self._deadline = shield.deadline(self.head, self._profile, self._watch.began)
        except Fault as fault:
            self.refuse(fault)
            return
        asked = self._watch.asked
        upload = self._upload
        if not upload.spilled:
            upload.prepare(upgrade=not asked.stream and shield.may_upgrade(self._observer.shape, self.head))
        self._lane = shield.lane(self.head.upstream, asked.model)
        stream = asked.stream or upload.upgraded
        self._plan = shield.plan(self._profile, self._host, asked.model, stream=stream, deadline=self._deadline)
        self._enter()

    def _enter(self) -> None:
        """Wait for a turn, where there is a limit, unless the breaker says no anyway."""
        gate, model = self._shield.gate, self._watch.asked.model
        if gate is None or self._shield.rejects(self._profile, self._host, model):
            self._follow(self._planned.next())
            return
        seconds = self._shield.settings.queue_seconds
        if self._deadline is not None:
            seconds = max(min(seconds, self._deadline.remaining()), 0.0)
        try:
            entered = gate.enter(self._lane, self, seconds)
        except Fault as fault:
            self.not_entered(fault)
            return
        if entered:
            self.entered()
        else:
            self._queued = True

    def _leave(self) -> None:
        """Make room for the next."""
        gate = self._shield.gate
        if gate is not None and self._inside:
            self._inside = False
            gate.leave(self._lane)

    def _follow(self, step: Step) -> None:
        """Do what the plan says."""
        match step:
            case Send():
                self._send(step.timeouts)
            case WaitFor():
                self._leave()
                self._wait = step
                self._wait_began = self._shield.clock()
                self._timer.after(step.seconds)
            case Stop():
                self._finish(step)

    def _waited(self) -> None:
        self._end_wait()
        self._enter()

    def _end_wait(self) -> None:
        wait, self._wait = self._wait, None
        if wait is not None:
            self._watch.waited(wait.reason, self._shield.clock() - self._wait_began)

    def _send(self, timeouts: "Timeouts") -> None:
        assert self._pool is not None  # noqa: S101  # it was started
        self._last = None
        self._trial = Trial(
            self, self._shield, self._pool, timeouts, upload=self._upload, reply=self._reply, watch=self._watch
        )
        self._trial.start()

    # --- the end

    def _finish(self, stop: Stop) -> None:
        """Give the client what there is."""
        fault: Fault | None = None
        ending = Ending.FAILED
        no_more = self._is_final(stop)
        answer = None if self._last is None else self._last.answer
        if stop.refusal is not None:
            fault, ending = self._refusal(stop), Ending.REFUSED
        elif answer is not None:
            fault = answer.give(close=self.close, no_more=no_more)
        elif self._last is not None:
            fault = self._last.fault
        if fault is not None:
            self.fault = fault
            fault.final = no_more
        if self._reply.begun:
            complete = fault is None and answer is not None and answer.complete
            close = self.close or self._reply.until_close
            self._conclude(Ending.COMPLETE if complete else Ending.BROKEN, stop)
            if complete:
                self._down.exchange_over(self, close=close)
            else:
                self._down.break_off(reset=self._reply.until_close)
            return
        assert fault is not None  # noqa: S101  # what was not answered has failed
        self._conclude(ending, stop, fault)
        self._answer_fault(fault)

    def _refusal(self, stop: Stop) -> Fault:
        if isinstance(stop.refusal, BreakerOpen):
            return self._shield.breaker_open(stop.refusal)
        return Fault("deadline_spent", "the call's deadline had passed before it could be sent")

    def _reject(self, fault: Fault) -> None:
        """Answer in the upstream's place: nothing was sent."""
        self.fault = fault
        outcome = Outcome.REJECTED if fault.status == _OVERLOAD else Outcome.CLIENT_ERROR
        self._conclude(Ending.REFUSED, Stop(because=Because.NOT_RETRYABLE, outcome=outcome), fault)
        self._answer_fault(fault)

    def _cancel(self, ending: Ending, fault: Fault | None = None) -> None:
        """Stop whatever is under way: the client went away, or broke the rules."""
        self._conclude(ending, self._cancelled(), fault)

    def _cancelled(self) -> Stop:
        trial, self._trial = self._trial, None
        if trial is not None:
            self._last = trial
            step = self._planned.ended(trial.cancel())
            assert isinstance(step, Stop)  # noqa: S101  # what was delivered is never tried again
            return step
        if self._queued and self._shield.gate is not None:
            self._queued = False
            self._shield.gate.forget(self._lane, self)
        self._end_wait()
        if self._plan is not None:
            return self._plan.cancelled()
        return Stop(because=Because.CANCELLED, outcome=Outcome.CANCELLED)

    def _conclude(self, ending: Ending, stop: Stop, fault: Fault | None = None) -> None:
        """Let go of everything, and tell of the call."""
        self.ending = ending
        self._timer.close()
        self._upload.forget()
        self._leave()
        status, hints = None, NO_HINTS
        if fault is not None:
            status, hints = fault.status, Hints(after=fault.retry_after)
        elif self._reply.begun and self._last is not None and self._last.answer is not None:
            head = self._last.answer.head
            status, hints = head.status, self._last.hints(head)
        self._watch.ended(
            stop,
            status=status,
            error_type=None if fault is None else fault.code,
            hints=hints,
            final=self._is_final(stop),
        )
        self._down.settled(self)

    def _answer_fault(self, fault: Fault) -> None:
        close = self.close
        self._down.write(fault.render(close=close))
        self._down.exchange_over(self, close=close)
