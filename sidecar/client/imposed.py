"""What a policy writes into the SDK's options for one attempt, marked as such.

The SDK makes the options of further pages out of those of the page before. The marks let them be told from what the
application gave: they hold it. Knows httpx2, and of the SDK only what options look like.
"""

from collections.abc import Mapping
from typing import Any, Final

import httpx2

from sidecar.policy import Send

RETRY_COUNT: Final = "x-stainless-retry-count"


class ImposedTimeout(httpx2.Timeout):
    """An attempt's timeouts."""

    given: Any
    """What the application gave."""


class ImposedRetries(int):
    """How often the SDK itself is to try again: not at all."""

    given: Any


class ImposedCount(str):
    """The number of an attempt, as the header tells it."""

    __slots__ = ()


def given_timeout(options: Any) -> Any:
    """Read what the application gave as the call's timeout."""
    timeout = options.timeout
    return timeout.given if isinstance(timeout, ImposedTimeout) else timeout


def given_retries(options: Any) -> Any:
    """Read what the application gave as the call's ``max_retries``."""
    retries = options.max_retries
    return retries.given if isinstance(retries, ImposedRetries) else retries


def impose(options: Any, send: Send) -> None:
    """Write an attempt's share of the policy into the options it is made from."""
    timeouts = send.timeouts
    timeout = ImposedTimeout(
        connect=timeouts.connect, read=timeouts.first_byte, write=timeouts.write, pool=timeouts.pool
    )
    timeout.given = given_timeout(options)
    retries = ImposedRetries(0)
    retries.given = given_retries(options)
    headers = options.headers if isinstance(options.headers, Mapping) else {}
    count = headers.get(RETRY_COUNT)
    options.timeout, options.max_retries = timeout, retries
    if send.number and (count is None or isinstance(count, ImposedCount)):
        options.headers = {**headers, RETRY_COUNT: ImposedCount(send.number)}
    elif isinstance(count, ImposedCount):
        options.headers = {name: value for name, value in headers.items() if name != RETRY_COUNT}
