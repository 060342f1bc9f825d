"""Drives calls of sync clients that are under a policy: sends, waits, sends again, as the plan says."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import httpx2

from sidecar.client.driving import begin, own_options, refusal, told, wait_after
from sidecar.client.imposed import impose
from sidecar.client.interruptions import out_of_time, watch
from sidecar.client.observer import CURRENT
from sidecar.policy import Send


def drive_request(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the method of ``SyncAPIClient`` that makes a call's attempts."""
    own = own_options(original)

    @wraps(original)
    def request(self: Any, cast_to: Any, options: Any, *, stream: bool = False, **more: Any) -> Any:
        begun = begin(self, options, stream=stream)
        if begun is None:
            return original(self, cast_to, options, stream=stream, **more)
        call, survival = begun
        times = survival.times
        step = survival.begin(call)
        if not isinstance(step, Send):
            raise refusal(step, self, options)
        options = own(options)
        while True:
            impose(options, step)
            try:
                answer = original(self, cast_to, options, stream=stream, **more)
            except BaseException as error:
                wait = wait_after(error, call, survival, self)
                if wait is None:
                    raise
                try:
                    times.sleep(wait)
                except BaseException:
                    survival.cancelled()
                    raise
                again = survival.again(call)
                if again is None:
                    raise
                step = again
            else:
                survival.handed_over = True
                return told(answer, step.number)

    return request


def limit_send(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``httpx2.Client.send``: within the wrapper that observes, so that it sees our errors."""

    @wraps(original)
    def send(self: Any, request: Any, **more: Any) -> Any:
        call = CURRENT.get()
        survival = None if call is None or call.http is not self else call.survival
        attempt = None if survival is None or call is None else call.last
        if survival is None or attempt is None or attempt.verdict is not None or survival.limits is None:
            return original(self, request, **more)
        limits = survival.limits
        request.extensions["timeout"] = limits
        try:
            response = original(self, request, **more)
        except httpx2.TimeoutException as error:
            if limits.is_deadline(error):
                raise out_of_time(request) from error
            raise
        limits.responding = True
        return watch(response, attempt, survival)

    return send
