"""What driving the SDK under a policy takes, apart from sending and waiting; the only part that knows the SDK's shape.

The SDK's inner ``_request`` makes the attempts of one call within its call's span, from a body that was read once.
It is made to send once, and is called again for each further attempt. Where an SDK has no such method, ``request``
itself is called again: the same, but for a span of the SDK's on each attempt.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import httpx2
from anthropic._exceptions import APIStatusError, RetryableError  # where we are loaded, `anthropic` is still loading
from anthropic._types import NOT_GIVEN, NotGiven

from sidecar.client.call import Call
from sidecar.client.errors import BreakerOpen, DeadlineExceeded
from sidecar.client.imposed import given_retries, given_timeout
from sidecar.client.limits import timeouts_of
from sidecar.client.observer import CURRENT
from sidecar.client.openings import BegunWithError
from sidecar.client.policies import Policies, in_force
from sidecar.client.survival import Survival
from sidecar.policy import NO_HINTS, Hints, current_deadline, parse_hints
from sidecar.policy import BreakerOpen as RefusedByBreaker
from sidecar.policy import DeadlineExceeded as RefusedByDeadline

GIVEN: Final = "_sidecar_given"
"""The attribute of a client made by ``with_options`` that holds the ``timeout`` and ``max_retries`` it was given."""

_RECKONED: Final = httpx2.Timeout(600, connect=5.0)
"""What the SDK itself sets where the application gave none."""
_MOST_ATTEMPTS: Final = 100
_UNAUTHORIZED: Final = 401
_INNER: Final = ("cast_to", "options", "stream", "stream_cls")


def inner_method(client_class: type) -> str:
    """Name the method to call again for each attempt: the one within the SDK's span where there is one."""
    inner = client_class.__dict__.get("_request")
    if inner is None or not {*_INNER} <= inspect.signature(inner).parameters.keys():
        return "request"
    return "_request"


def own_options(method: Callable[..., Any]) -> Callable[[Any], Any]:
    """Give what makes a call's options ours to write to: ``_request`` gets a copy already, ``request`` does not."""
    return (lambda options: options) if method.__name__ == "_request" else (lambda options: options.model_copy())


def begin(client: Any, options: Any, *, stream: bool) -> tuple[Call, Survival] | None:
    """Begin to drive the call under way, when it is under a policy. Never raises."""
    call = CURRENT.get()
    if call is None or call.survival is not None or call.http is not client._client:  # noqa: SLF001
        return None
    try:
        policies = in_force(call.observer)
        if policies is None:
            return None
        call.survival = survival = _survival(call, client, options, policies, stream=stream)
    except Exception as error:  # noqa: BLE001  # whatever it is, the call must not suffer
        call.observer.fault("client.policy", error)
        return None
    return call, survival


def _survival(call: Call, client: Any, options: Any, policies: Policies, *, stream: bool) -> Survival:
    given = client.__dict__.get(GIVEN, {})
    timeout, retries = given_timeout(options), given_retries(options)
    if _is_left_out(timeout) or timeout == _RECKONED:
        timeout = given.get("timeout", NOT_GIVEN)
    if _is_left_out(retries):
        retries = given.get("max_retries", NOT_GIVEN)
    timeouts = None if _is_left_out(timeout) else timeouts_of(timeout)
    attempts = None if _is_left_out(retries) else min(max(int(retries), 0) + 1, _MOST_ATTEMPTS)
    if not _is_replayable(options):
        attempts = 1
    planner = policies.planner(call.profile, timeouts=timeouts, attempts=attempts)
    host = client.base_url.host
    # An answer that is not streamed may otherwise use all that is left of the call as its first byte.
    plan = planner.plan(
        host, call.model, stream=stream or call.streams or timeouts is not None, deadline=current_deadline()
    )
    breaker = None if planner.breakers is None else f"{host}/{call.model}"
    return Survival(plan, policies.shared, breaker)


def refusal(reason: RefusedByBreaker | RefusedByDeadline, client: Any, options: Any) -> Exception:
    """Make the error of a call that is not sent."""
    request = httpx2.Request(options.method.upper(), client.base_url.join(options.url.lstrip("/")))
    if isinstance(reason, RefusedByBreaker):
        return BreakerOpen.refusing(reason, request)
    return DeadlineExceeded.refusing(reason, request)


def wait_after(error: BaseException, call: Call, survival: Survival, client: Any) -> float | None:
    """Tell what the SDK has raised. Gives the seconds to wait before the next attempt; None: there is none."""
    for each in _chain(error):
        if isinstance(each, BegunWithError):
            return each.wait
    hints, asked = asked_by(error, client, survival.times.wall)
    return survival.failed(call, error, hints, asked=asked)


def asked_by(error: BaseException, client: Any, wall: Callable[[], float]) -> tuple[Hints, bool]:
    """Read what an attempt's error says of another: the server's hints, and whether it was made to be retried."""
    for each in _chain(error):
        if isinstance(each, RetryableError):
            return NO_HINTS, True
        if isinstance(each, APIStatusError):
            hints = parse_hints(each.response.headers, unix_now=wall())
            # The SDK throws away a token that was refused, and asks once more with a new one.
            if each.status_code == _UNAUTHORIZED and client._should_retry(each.response):  # noqa: SLF001
                hints = replace(hints, should_retry=True)
            return hints, False
    return NO_HINTS, False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Go through an error and what it was made from."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__


def told(answer: Any, number: int) -> Any:
    """Have a raw response say how many attempts came before it, as the SDK's own do."""
    if number and "retries_taken" in getattr(answer, "__dict__", ()):
        answer.retries_taken = number
    return answer


def _is_left_out(value: Any) -> bool:
    return isinstance(value, NotGiven)


def _is_replayable(options: Any) -> bool:
    """Say whether the body can be sent twice. JSON can: the SDK has read it by now."""
    content = getattr(options, "content", None)
    return content is None or isinstance(content, bytes | bytearray | str)


def given_to_copy(client: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Say which timeout and retries hold for a copy of a client because the application asked for them."""
    named = {name: options[name] for name in ("timeout", "max_retries") if name in options}
    given = {name: value for name, value in named.items() if not _is_left_out(value)}
    return {**client.__dict__.get(GIVEN, {}), **given}
