"""Type-checked, never run: the public names have the types users are promised. `make check` fails when they do not."""

from typing import Any, assert_type

import anthropic

import sidecar
from sidecar.model import BreakerState, Profile
from sidecar.policy import Deadline, Permit

assert_type(sidecar.__version__, str)
assert_type(sidecar.Telemetry(), sidecar.Telemetry)
assert_type(sidecar.default_telemetry(), sidecar.Telemetry)
assert_type(sidecar.serve_metrics(0).port, int)

client = sidecar.Anthropic(api_key="k", profile="interactive")
official: anthropic.Anthropic = client
assert_type(sidecar.instrument(official), anthropic.Anthropic)
asynchronous: anthropic.AsyncAnthropic = sidecar.AsyncAnthropic(api_key="k")
assert_type(sidecar.install(profile=Profile.AGENTIC), None)
assert_type(sidecar.uninstall(), None)
assert_type(sidecar.configure(metrics_port=0), None)
with sidecar.profile("interactive") as nothing:
    assert_type(nothing, None)

assert_type(sidecar.complete(client, model="m", max_tokens=1, messages=[]), sidecar.Completed)
assert_type(sidecar.complete(anthropic.AnthropicBedrock(), max_turns=2, deadline=60), sidecar.Completed)
asked = {"x-sidecar-resume": "true"}
with client.messages.stream(model="m", max_tokens=1, messages=[], extra_headers=asked) as stream:
    assert_type(stream.get_final_message().stop_reason is None, bool)
assert_type(sidecar.Resume(max_turns=2, max_total_tokens=9, deadline=60).written(), str)
# A type checker sees the SDK's own signatures, which have no such keyword.
client.messages.stream(model="m", max_tokens=1, messages=[], resume=True)  # type: ignore[call-arg]
client.messages.create(model="m", max_tokens=1, messages=[], stream=True, resume=True)  # type: ignore[call-overload]
more: dict[str, Any] = {"resume": sidecar.Resume(max_turns=2)}
client.messages.stream(model="m", max_tokens=1, messages=[], **more)


async def long_answers() -> None:
    completed = await sidecar.complete(asynchronous, model="m", max_tokens=1, messages=[])
    assert_type(completed, sidecar.Completed)
    assert_type(completed.message, anthropic.types.Message)
    assert_type(completed.finished, bool)
    assert_type(completed.text, str)


breaker = sidecar.CircuitBreaker("host/model", clock=lambda: 0.0)
assert_type(breaker.state, BreakerState)
assert_type(breaker.acquire(), Permit)
assert_type(sidecar.BreakerRegistry().get("host", "model"), sidecar.CircuitBreaker)
assert_type(sidecar.BreakerOpen("host/model", None).retry_after, float | None)
assert_type(sidecar.Policy.for_profile("interactive"), sidecar.Policy)
assert_type(sidecar.Policy().timeouts, sidecar.Timeouts)
assert_type(sidecar.Policy().retry, sidecar.Retry)
assert_type(sidecar.RetryBudget().withdraw(), bool)
with sidecar.deadline(300) as chain:
    assert_type(chain, Deadline)
    assert_type(chain.allot(last=True), float)
assert_type(sidecar.DeadlineExceeded(0.5, 1.0).remaining, float)
