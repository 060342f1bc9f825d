"""A protected proxy without sockets, whose every clock is moved by hand."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from sidecar.model import AttemptRecord, CallRecord
from sidecar.policy import policies
from sidecar.proxy.downstream import Downstream
from sidecar.proxy.limits import Limits
from sidecar.proxy.origin import Origin
from sidecar.proxy.protect.settings import Protection
from sidecar.proxy.protect.shield import Shield
from sidecar.proxy.server import Settings
from tests.proxy.memory import Conversation, Pipe, Seen

BODY = b'{"model":"claude-sonnet-5","max_tokens":5,"messages":[{"role":"user","content":"secret"}]}'
STREAM = BODY[:-1] + b',"stream":true}'
MESSAGE = b'{"type":"message","content":[],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":4}}'
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
SDK = b"x-stainless-lang: python\r\nx-stainless-retry-count: %d\r\nx-stainless-timeout: 30\r\n"
JSON = b"Content-Type: application/json"
SLOT = 0.06
"""A little more than timers are late by."""


def protection(table: Mapping[str, Any] | None = None, **settings: Any) -> Protection:
    """Make protection of a policy's table: by default with waits of exactly 1, 2, 4 s and no retry budget."""
    of_retries = {"base": 1.0, "jitter": "none", **(table or {}).get("retry", {})}
    rest = {"retry_budget": False, **(table or {}), "retry": of_retries}
    return Protection(policies=policies(rest), **settings)


def ask(
    body: bytes = BODY, headers: bytes = SDK % 0, target: bytes = b"/v1/messages", version: bytes = b"1.1"
) -> bytes:
    return b"POST %b HTTP/%b\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (target, version, headers, len(body), body)


class Protected(Conversation):
    """One client talking through a protected proxy."""

    under_way: ClassVar[list["Protected"]] = []

    def __init__(self, settings: Protection | None = None, limits: Limits | None = None, **more: Any) -> None:
        settings = settings or protection()
        super().__init__(limits, protection=settings, **more)
        self._proxy_settings = Settings(upstream=Origin("http", "up.test", 80), protection=settings)
        self.under_way.append(self)

    def __exit__(self, *_: object) -> None:
        if self in self.under_way:
            self.under_way.remove(self)
            super().__exit__()

    @classmethod
    def end_all(cls) -> None:
        """End what a test has left under way."""
        for talk in list(cls.under_way):
            talk.__exit__()

    async def _make(self, limits: Limits) -> None:
        self.loop.time = lambda: self.now  # type: ignore[method-assign]  # every timer by hand
        await super()._make(limits)

    def proxy_settings(self, **changed: Any) -> Settings:
        """Make settings as the proxy has them, but for these."""
        return replace(self._proxy_settings, **changed)

    @property
    def shield(self) -> Shield:
        assert self.proxy.shield is not None
        return self.proxy.shield

    def is_protected(self) -> bool:
        """Whether there is protection now."""
        return self.proxy.shield is not None

    def reads(self) -> bool:
        """Whether the client's bytes are taken."""
        return self.pipe.reading

    def reads_upstream(self) -> bool:
        """Whether the upstream's bytes are."""
        return self.last.reading

    @property
    def sent(self) -> list[bytes]:
        """The bodies of all requests that were sent upstream."""
        return [body for _, pipe in self.upstreams for body in Seen(bytes(pipe.written), requests=True).bodies]

    @property
    def last(self) -> Pipe:
        """The connection to the upstream that was made last."""
        return self.upstreams[-1][1]

    def another(self) -> tuple[Downstream, Pipe]:
        """Connect another client."""
        client = Downstream(self.proxy)
        pipe = Pipe(self.loop, client)
        client.connection_made(pipe)
        return client, pipe

    def say_as(self, other: tuple[Downstream, Pipe], data: bytes) -> None:
        """Have that client send."""
        other[0].data_received(data)
        self.settle()

    @staticmethod
    def heard_by(other: tuple[Downstream, Pipe]) -> bytes:
        """Take what that client was sent since it was last taken."""
        data = bytes(other[1].written)
        other[1].written.clear()
        return data

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + SLOT, until)
            self.settle()

    def heard(self) -> bytes:
        """Take what the client was sent since it was last taken."""
        data = bytes(self.pipe.written)
        self.pipe.written.clear()
        return data

    def answered(self) -> tuple[int, dict[bytes, bytes], Any]:
        """Take one whole answer: status, headers by lower-case name, decoded body."""
        data = self.heard()
        seen = Seen(data, requests=False)
        assert (seen.complete, seen.error) == (1, None), data
        head, _, _ = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        return int(lines[0][9:12]), headers, json.loads(seen.bodies[0])

    def told(self) -> tuple[list[AttemptRecord], CallRecord]:
        """End the conversation; return its attempts and the one call they add up to."""
        self.__exit__()
        (call,) = self.records.calls
        assert self.telemetry.value("sidecar_internal_errors_total") == 0
        assert self.telemetry.value("sidecar_dropped_records_total") == 0
        assert self.telemetry.value("claude_in_flight") == 0
        assert self.shield.room.used == 0
        assert self.shield.gate is None or not self.shield.gate.lanes
        assert "secret" not in repr((self.records.attempts, call))
        assert call.attempts == len(self.records.attempts)
        return self.records.attempts, call


def limited(**seconds: Any) -> dict[str, Any]:
    """Make the table of a policy with these timeouts."""
    return {"timeouts": seconds}
