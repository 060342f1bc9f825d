"""An answer as a script: the steps that send it, each with its delay, and what each fault does to them.

Pure: a script says what happens when; the player does it.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from sidecar.chaos.answer import Answer
from sidecar.chaos.dice import Plan
from sidecar.chaos.faults import Fault, FaultSpec
from sidecar.chaos.http import LAST_CHUNK, chunk
from sidecar.chaos.sse import frames
from sidecar.chaos.steps import Act, Step
from sidecar.wire.errors import ERROR_MESSAGES, error_event

__all__ = ["body_script", "malformed", "silent_script", "stream_script"]

_GZIP_FORMAT: Final = 31


def silent_script(fault: FaultSpec) -> Iterator[Step]:
    """Script the faults that never come to an answer: hang, and a reset before the headers."""
    if fault.fault is Fault.RESET:
        yield Step(0.0, Act.RESET)
    elif fault.seconds is None:
        yield Step(0.0, Act.HOLD)
    else:
        yield Step(fault.seconds, Act.CUT)


def body_script(head: bytes, body: bytes, *, delay: float, fault: FaultSpec, chunked: bool) -> Iterator[Step]:
    """Script an answer with a plain body. A fault that strikes within a body strikes half-way."""
    yield Step(delay, Act.HEAD, head)
    if fault.fault in _WITHIN and fault.fault not in _MALFORMED:
        half = max(1, len(body) // 2)
        pieces = (Step(0.0, Act.CONTENT, body[:half]), Step(0.0, Act.CONTENT, body[half:]))
        steps = _struck(pieces, fault, after=1)
    elif fault.fault is Fault.DRIP:
        steps = _dripped((Step(0.0, Act.SEND, body),), fault)
    else:
        steps = iter((Step(0.0, Act.SEND, body),))
    yield from _framed(steps, chunked=chunked)


def stream_script(head: bytes, answer: Answer, plan: Plan, *, request_id: str, chunked: bool) -> Iterator[Step]:
    """Script an event stream, one content event every ``plan.event_seconds``."""
    fault = plan.fault
    delay = fault.seconds if fault.fault is Fault.SLOW_HEADERS and fault.seconds is not None else plan.latency
    yield Step(delay, Act.HEAD, head)
    if fault.fault not in _WITHIN and fault.fault is not Fault.DRIP and not fault.gzip_stream:
        # The common case, and the one that must sustain the load: framed as it is encoded.
        yield from frames(answer, plan.event_seconds, chunk if chunked else bytes)
        yield Step(0.0, Act.DONE, LAST_CHUNK if chunked else b"")
        return
    steps = frames(answer, plan.event_seconds)
    if fault.fault in _WITHIN:
        steps = _struck(steps, fault, after=fault.after, request_id=request_id)
    elif fault.fault is Fault.DRIP:
        steps = _dripped(steps, fault)
    if fault.gzip_stream:
        steps = _zipped(steps)
    yield from _framed(steps, chunked=chunked)


_MALFORMED: Final = frozenset({Fault.MALFORMED_JSON, Fault.MALFORMED_SSE})
_WITHIN: Final = _MALFORMED | {Fault.STALL, Fault.TRUNCATE, Fault.TRUNCATE_CLEAN, Fault.RESET, Fault.ERROR_EVENT}


def _struck(steps: Iterable[Step], fault: FaultSpec, *, after: int, request_id: str = "") -> Iterator[Step]:
    """Let the fault strike before the content event number ``after``, counted from 0, or after the last one."""
    sent, struck = 0, False
    for step in steps:
        if struck or not (step.act is Act.TAIL or (step.act is Act.CONTENT and sent == after)):
            yield step
            sent += step.act is Act.CONTENT
            continue
        struck = True
        if fault.fault is Fault.STALL and fault.seconds is not None:
            yield Step(fault.seconds, Act.PAUSE)
            yield step
            continue
        replaced = _strike(step, fault, request_id)
        yield replaced
        if replaced.act not in {Act.SEND, Act.CONTENT, Act.TAIL}:
            return


def malformed(data: bytes) -> bytes:
    """Spoil the last brace: JSON that does not parse, of the same length and shape."""
    brace = data.rfind(b"}")
    return data[:brace] + b"!" + data[brace + 1 :]


_ENDINGS: Final = {
    Fault.STALL: Act.HOLD,
    Fault.TRUNCATE: Act.CUT,
    Fault.TRUNCATE_CLEAN: Act.EARLY,
    Fault.RESET: Act.RESET,
}


def _strike(step: Step, fault: FaultSpec, request_id: str) -> Step:
    """Say what is done in the place of ``step``."""
    delay, act, data = step
    if fault.fault in _ENDINGS:
        return Step(delay, _ENDINGS[fault.fault])
    if fault.fault is Fault.ERROR_EVENT:
        event = error_event(fault.error_type, ERROR_MESSAGES[fault.error_type], request_id=request_id)
        return Step(delay, Act.DONE, event)
    if fault.fault is Fault.MALFORMED_SSE:
        half = len(data) // 2
        return Step(delay, act, data[:half] + b"\n\n" + data[half:])
    return Step(delay, act, malformed(data))


def _dripped(steps: Iterable[Step], fault: FaultSpec) -> Iterator[Step]:
    """Send everything in small pieces, at a pace of its own."""
    pace = fault.seconds or 0.0
    for _, act, data in steps:
        for start in range(0, len(data), fault.bytes):
            last = start + fault.bytes >= len(data)
            yield Step(pace, act if last else Act.SEND, data[start : start + fault.bytes])


def _zipped(steps: Iterable[Step]) -> Iterator[Step]:
    """Compress a stream, flushed at every step, so that each event still arrives on its own."""
    zipper = zlib.compressobj(level=1, wbits=_GZIP_FORMAT)
    for delay, act, data in steps:
        if act is Act.DONE:
            yield Step(delay, act, zipper.compress(data) + zipper.flush())
            return
        yield Step(delay, act, zipper.compress(data) + zipper.flush(zlib.Z_SYNC_FLUSH) if data else b"")
    yield Step(0.0, Act.SEND, zipper.flush())


def _framed(steps: Iterable[Step], *, chunked: bool) -> Iterator[Step]:
    """Frame the body, and end it if nothing has ended it before."""
    end = LAST_CHUNK if chunked else b""
    for delay, act, data in steps:
        framed = chunk(data) if chunked and data else data
        if act in {Act.DONE, Act.EARLY}:
            yield Step(delay, act, framed + end)
            return
        yield Step(delay, act, framed)
        if act in {Act.CUT, Act.RESET, Act.HOLD}:
            return
    yield Step(0.0, Act.DONE, end)
