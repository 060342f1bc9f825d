"""What the client's tests share: a recorder, a fake API whose truth records are held against, ready clients."""

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import anthropic
import pytest

from sidecar.chaos import Attempt as Truth
from sidecar.chaos import Chaos, chaos_server
from sidecar.client import install as seam
from sidecar.client.begin import Installed
from sidecar.client.call import Call
from sidecar.model import AttemptRecord, CallRecord
from sidecar.telemetry import InFlight, Telemetry

MODEL = "claude-sonnet-5-5"


@dataclass(eq=False)
class Seen:
    """Takes records as a ``Telemetry`` does, and keeps them."""

    attempts: list[AttemptRecord] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    faults: list[tuple[str, BaseException]] = field(default_factory=list)
    telemetry: Telemetry = field(default_factory=Telemetry)
    another: threading.Event = field(default_factory=threading.Event)

    def __getattr__(self, name: str) -> Any:
        if name in {"before_collecting", "breaker", "retry_budget", "timeouts"}:
            return getattr(self.telemetry, name)
        raise AttributeError(name)

    @property
    def in_flight(self) -> InFlight:
        return self.telemetry.in_flight

    def attempt(self, record: AttemptRecord) -> None:
        self.attempts.append(record)
        self.telemetry.attempt(record)

    def call(self, record: CallRecord) -> None:
        self.calls.append(record)
        self.telemetry.call(record)
        self.another.set()

    def internal_error(self, where: str, error: BaseException) -> None:
        self.faults.append((where, error))

    @property
    def one(self) -> CallRecord:
        """The only call there was."""
        (call,) = self.calls
        return call

    def agree(self, chaos: Chaos, *, calls: int | None = None) -> Sequence[Truth]:
        """Hold every record against what the server knows; exactly one for each request."""
        truth = chaos.settled()
        assert self.faults == []
        by_start = sorted(self.attempts, key=lambda record: record.started_at)
        assert len(by_start) == len(truth), (by_start, truth)
        named = {true.request_id: true for true in truth}
        known = {seen.request_id for seen in by_start}
        unnamed = iter([true for true in truth if true.request_id not in known])  # nobody saw their answer
        for seen in by_start:
            true = next(unnamed) if seen.request_id is None else named[seen.request_id]
            assert (seen.method, seen.endpoint) == (true.method, true.endpoint)
            assert seen.model == (true.model or "")
            assert seen.number == (true.retry_count or 0)
            if seen.request_id is not None:
                assert seen.status == true.status
            if seen.first_byte is not None and true.headers_sent_at is not None:
                # The client begins before the server, and sees things after it: never the other way round.
                assert seen.first_byte >= true.headers_sent_at - true.received - 0.001
            if seen.first_token is not None:
                assert true.first_delta_at is not None
                assert seen.first_token >= true.first_delta_at - true.received - 0.001
        assert sum(call.attempts for call in self.calls) == len(truth)
        if calls is not None:
            assert len(self.calls) == calls
        for call in self.calls:
            of_call = [a for a in by_start if a.request_id == call.request_id]
            gave_up_waiting = call.waits and not call.waits[-1].completed
            if call.request_id is not None and not gave_up_waiting:
                assert [a.outcome for a in of_call] == [call.outcome]
        assert self.telemetry.value("claude_in_flight") == 0
        return truth


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="session")
def running_chaos() -> Iterator[Chaos]:
    with chaos_server() as chaos:
        yield chaos


@pytest.fixture
def chaos(running_chaos: Chaos) -> Chaos:
    running_chaos.settled()
    running_chaos.reset()
    return running_chaos


@pytest.fixture
def installed(seen: Seen) -> Iterator[Seen]:
    seam.install(telemetry=seen)
    yield seen
    seam.uninstall()


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    yield
    assert Installed.observer is None
    seam._INSTRUMENTED.clear()
    seam._PATCHES.undo()


@pytest.fixture
def sync_client(chaos: Chaos) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=chaos.url, api_key="sk-test") as client:
        yield client


@pytest.fixture
def async_client(chaos: Chaos) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=chaos.url, api_key="sk-test")


@pytest.fixture
def ask() -> dict[str, Any]:
    """Give the least that a request to the Messages API needs."""
    return {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def fault() -> Any:
    """Options that make a request fail, once for each attempt."""

    def options(spec: str) -> dict[str, Any]:
        return {"extra_headers": {"x-chaos": spec}}

    return options


@pytest.fixture
def born(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[Call]]]:
    """Keep an eye on every call that is made, while no collector runs: only what is in no cycle goes."""
    refs: list[weakref.ref[Call]] = []

    class Watched(Call):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            refs.append(weakref.ref(self))

    monkeypatch.setattr("sidecar.client.begin.Call", Watched)
    gc.collect()
    gc.disable()
    try:
        yield refs
    finally:
        gc.enable()
