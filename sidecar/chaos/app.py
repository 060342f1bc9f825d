"""What the server does with a request: numbers it, draws its fault, and scripts its answer.

Knows neither sockets nor timers; time comes from the clocks it is given.
"""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from sidecar.chaos.answer import Answer
from sidecar.chaos.api import Refusal
from sidecar.chaos.dice import Plan, draw
from sidecar.chaos.endpoints import Endpoints
from sidecar.chaos.faults import Fault, FaultError, FaultSpec
from sidecar.chaos.forced import Forced, retry_count
from sidecar.chaos.http import Request, accepts_gzip, head
from sidecar.chaos.limits import LimitCounter
from sidecar.chaos.pages import own_page
from sidecar.chaos.reply import Reply, failed, refused
from sidecar.chaos.scenario import Moment, Scenario
from sidecar.chaos.script import body_script, malformed, silent_script, stream_script
from sidecar.chaos.steps import Step
from sidecar.chaos.truth import Attempt, Truth
from sidecar.model import ERROR_STATUS, endpoint_of

__all__ = ["App", "Exchange"]

_ORGANIZATION: Final = "00000000-0000-4000-8000-00000000c4a0"
_MAX_SHOWN: Final = 100
_TRACE_FIELDS: Final = [2, 32, 16, 2]
_HEX: Final = frozenset("0123456789abcdef")
_MALFORMED: Final = frozenset({Fault.MALFORMED_JSON, Fault.MALFORMED_SSE})


@dataclass(slots=True)
class Exchange:
    """An answer ready to be played."""

    steps: Iterator[Step]
    attempt: Attempt | None
    """None for the server's own pages."""
    keep_alive: bool


class App:
    """The fake API, without a network."""

    def __init__(
        self, scenario: Scenario, *, seed: int, truth: Truth, moment: Callable[[], Moment], wall: Callable[[], float]
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.truth = truth
        self.moment = moment
        self.forced = Forced()
        self._wall = wall
        self._endpoints = Endpoints(scenario, wall)
        self._limits = LimitCounter(scenario.limits)
        self._number = 0

    def reset(self) -> None:
        """Start over: request numbers, truth, batches and queued faults."""
        self._number = 0
        self.truth.reset()
        self.forced.clear()
        self._endpoints.batches.clear()

    def handle(self, request: Request) -> Exchange:
        """Answer one request."""
        if request.path == "/chaos" or request.path.startswith("/chaos/"):
            return self._own_page(request)
        number = self._number
        self._number += 1
        moment = self.moment()
        attempt = self._attempt(request, number, moment)
        reply: Reply | Answer
        try:
            forced = self.forced.of(request)
        except FaultError as error:
            plan = draw(self.seed, number, moment, FaultSpec())
            reply = refused(Refusal(400, f"x-chaos: {error}"))
        else:
            plan = draw(self.seed, number, moment, forced)
            attempt.forced = forced is not None
            reply = self._endpoints.answer(request, plan, attempt)
        if isinstance(reply, Reply) and reply.error is not None:
            # What is refused has no fault: it never came far enough.
            plan = replace(plan, fault=FaultSpec(latency=plan.fault.latency))
        attempt.fault = plan.fault.text
        exchange = self._script(request, plan, attempt, reply)
        self.truth.begin(attempt)
        return exchange

    def _attempt(self, request: Request, number: int, moment: Moment) -> Attempt:
        trace_id, span_id = _trace(request.headers.get("traceparent", ""))
        return Attempt(
            sequence=number,
            request_id=f"req_{self.seed & 0xFFFFFFFF:08x}{number:016x}",
            method=request.method,
            path=request.path[:_MAX_SHOWN],
            endpoint=endpoint_of(request.path),
            model="",
            stream=False,
            retry_count=retry_count(request),
            trace_id=trace_id,
            span_id=span_id,
            fault="ok",
            forced=False,
            phase=moment.phase.name,
            started=self.truth.wall(request.started),
            received=self.truth.wall(request.received),
        )

    def _own_page(self, request: Request) -> Exchange:
        """Answer ``/chaos``: never faulty, never part of the truth."""
        reply = own_page(self, request)
        body = reply.whole()
        headers = {"content-type": reply.content_type, "content-length": str(len(body)), **reply.headers}
        start = head(reply.status, headers, close=not request.keep_alive)
        body = b"" if request.method == "HEAD" else body
        steps = body_script(start, body, delay=0.0, fault=FaultSpec(), chunked=False)
        return Exchange(steps, None, request.keep_alive)

    def _script(self, request: Request, plan: Plan, attempt: Attempt, reply: Reply | Answer) -> Exchange:
        """Turn a reply into steps, with the plan's fault in them."""
        fault = plan.fault
        if fault.fault is Fault.HANG or (fault.fault is Fault.RESET and not fault.after_headers):
            return Exchange(silent_script(fault), attempt, keep_alive=False)
        if fault.fault is Fault.ERROR_EVENT and isinstance(reply, Reply):
            # Where there is no stream, the same error is the answer's status.
            fault = replace(fault, fault=Fault.STATUS, status=ERROR_STATUS[fault.error_type])
        if fault.fault is Fault.STATUS:
            reply = failed(fault)
        attempt.status = 200 if isinstance(reply, Answer) else reply.status
        headers = {"request-id": attempt.request_id, "anthropic-organization-id": _ORGANIZATION}
        if attempt.endpoint == "messages":
            headers |= self._limits.headers(
                self._wall(),
                input_tokens=attempt.input_tokens or 0,
                output_tokens=attempt.output_tokens or 0,
                exhausted=attempt.status == ERROR_STATUS["rate_limit_error"],
            )
        if isinstance(reply, Answer):
            return _streamed(request, plan, attempt, reply, headers)
        return _plain(request, replace(plan, fault=fault), attempt, reply, headers)


def _streamed(request: Request, plan: Plan, attempt: Attempt, answer: Answer, headers: dict[str, str]) -> Exchange:
    headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    if plan.fault.gzip_stream:
        headers["content-encoding"] = "gzip"
    if request.http11:
        headers["transfer-encoding"] = "chunked"
    keep_alive = request.keep_alive and request.http11
    if plan.fault.fault is Fault.ERROR_EVENT:
        attempt.error_type = plan.fault.error_type
    start = head(200, headers, close=not keep_alive)
    steps = stream_script(start, answer, plan, request_id=attempt.request_id, chunked=request.http11)
    return Exchange(steps, attempt, keep_alive)


def _plain(request: Request, plan: Plan, attempt: Attempt, reply: Reply, headers: dict[str, str]) -> Exchange:
    fault = plan.fault
    attempt.error_type = reply.error.error_type if reply.error else None
    body = reply.whole(attempt.request_id)
    headers |= {"content-type": reply.content_type, "vary": "accept-encoding", **reply.headers}
    if fault.fault in _MALFORMED:
        body = malformed(body)
    if accepts_gzip(request.headers.get("accept-encoding", "")):
        body = gzip.compress(body, 1, mtime=0)
        headers["content-encoding"] = "gzip"
    keep_alive, chunked = request.keep_alive, False
    if fault.fault is not Fault.TRUNCATE_CLEAN or request.method == "HEAD":
        headers["content-length"] = str(len(body))
    elif request.http11:
        chunked = True
        headers["transfer-encoding"] = "chunked"
    else:
        keep_alive = False
    delay = plan.delay(reply.share) + reply.seconds
    if fault.fault is Fault.SLOW_HEADERS and fault.seconds is not None:
        delay = fault.seconds
    if request.method == "HEAD":
        # There is no body for a fault to strike in.
        body, fault = b"", FaultSpec()
    start = head(reply.status, headers, close=not keep_alive)
    return Exchange(body_script(start, body, delay=delay, fault=fault, chunked=chunked), attempt, keep_alive)


def _trace(traceparent: str) -> tuple[str | None, str | None]:
    """Take the ids out of a W3C traceparent."""
    parts = traceparent.split("-")
    if [len(part) for part in parts] != _TRACE_FIELDS or not _HEX.issuperset("".join(parts)):
        return None, None
    return parts[1], parts[2]
