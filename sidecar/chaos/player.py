"""Plays one answer's script onto a connection, and writes down what truly happened.

Knows time and the transport, nothing of HTTP: the script holds the bytes.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

from sidecar.chaos.steps import Act, Step
from sidecar.chaos.truth import Attempt, End, Truth
from sidecar.chaos.wheel import Timer, Wheel

__all__ = ["Player"]

_SOON: Final = 0.0005
"""What is due within this many seconds is done now: finer than the wheel's tick."""
_LINGER_RESET: Final = struct.pack("ii", 1, 0)
# A tuple, for every event asks: hashing an enum's member costs more than comparing it with a few.
_FLOWING: Final = (Act.CONTENT, Act.SEND, Act.HEAD, Act.TAIL, Act.PAUSE)
_ENDINGS: Final = {Act.DONE: End.COMPLETE, Act.EARLY: End.ENDED_EARLY, Act.CUT: End.CUT, Act.RESET: End.RESET}


class Player:
    """One answer under way."""

    __slots__ = (
        "_attempt",
        "_due",
        "_held",
        "_on_end",
        "_over",
        "_pending",
        "_playing",
        "_steps",
        "_timer",
        "_transport",
        "_truth",
        "_wheel",
        "_written",
    )

    def __init__(
        self,
        *,
        steps: Iterator[Step],
        attempt: Attempt | None,
        received: float,
        transport: asyncio.Transport,
        wheel: Wheel,
        truth: Truth,
        on_end: Callable[[End], None],
    ) -> None:
        self._steps = steps
        self._attempt = attempt
        self._due = received
        self._transport = transport
        self._wheel = wheel
        self._truth = truth
        self._on_end = on_end
        self._pending: Step | None = None
        self._timer: Timer | None = None
        self._held = False
        """The client does not keep up."""
        self._playing = False
        self._written = False
        self._over = False
        """Nothing more will be sent, though the attempt may not have ended."""

    def play(self) -> None:
        """Do all that is due, then wait for what is not."""
        self._timer = None
        self._playing = True
        now = self._wheel.now()
        while not self._held:
            step = self._pending
            if step is None:
                step = next(self._steps)
                if step.delay:
                    # A pace is kept by catching up; a pause is a fault, and is never cut short.
                    self._due = (now if step.act is Act.PAUSE else self._due) + step.delay
            if self._due > now + _SOON:
                self._pending = step
                self._timer = self._wheel.at(self._due, self.play)
                break
            self._pending = None
            if not self._do(step, now):
                break
        self._playing = False

    def hold(self) -> None:
        """Stop sending: the client does not keep up."""
        self._held = True

    def go_on(self) -> None:
        """Send again."""
        if self._over:
            return
        self._held = False
        if self._timer is None and not self._playing:
            self.play()

    def stop(self, end: End) -> None:
        """End here; nothing more is sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._held = True
        self._finish(end)

    def _do(self, step: Step, now: float) -> bool:
        """Do one step; tell whether another may follow."""
        _, act, data = step
        if data:
            self._transport.write(data)
            self._written = True
            if self._attempt is not None:
                self._note(self._attempt, act, len(data), now)
        return act in _FLOWING or self._do_last(act, now)

    def _do_last(self, act: Act, now: float) -> bool:
        if act is Act.HOLD:
            self._over = True
            return False
        if act is Act.RESET and (self._written or self._transport.get_write_buffer_size()):
            # A reset throws away what has not left yet, and what was just written leaves in the loop's next turn.
            self._written = False
            self._pending = Step(0.0, Act.RESET)
            self._timer = self._wheel.at(now + _SOON, self.play)
            return False
        if act is Act.RESET:
            _reset(self._transport)
        elif act is Act.CUT:
            self._transport.close()
        self._finish(_ENDINGS[act])
        return False

    def _note(self, attempt: Attempt, act: Act, size: int, now: float) -> None:
        moment = self._truth.wall(now)
        attempt.bytes += size
        if act is Act.HEAD:
            attempt.headers_sent_at = moment
        elif attempt.last_sent_at is not None:
            attempt.max_gap = max(attempt.max_gap or 0.0, moment - attempt.last_sent_at)
        if act is Act.CONTENT and attempt.stream:
            attempt.events += 1
            if attempt.first_delta_at is None:
                attempt.first_delta_at = moment
        attempt.last_sent_at = moment

    def _finish(self, end: End) -> None:
        self._over = True
        now = self._wheel.now()
        attempt = self._attempt
        if attempt is not None:
            if attempt.last_sent_at is not None and end is not End.COMPLETE:
                attempt.max_gap = max(attempt.max_gap or 0.0, self._truth.wall(now) - attempt.last_sent_at)
            self._attempt = None
            self._truth.finish(attempt, end, now)
        self._on_end(end)


def _reset(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.abort()
