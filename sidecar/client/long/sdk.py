"""What the shells of both kinds say to the SDK: parameters, events as its objects, and errors. Loads anthropic."""

from typing import TYPE_CHECKING, Any, Final

import httpx2
from anthropic import NOT_GIVEN, NotGiven
from anthropic.types import Message

from sidecar.client import errors
from sidecar.client.errors import DeadlineExceeded, PartialMessage
from sidecar.client.long.course import Course, Next
from sidecar.client.long.joined import Event
from sidecar.client.long.results import Completed
from sidecar.client.long.underneath import policies_of
from sidecar.model import classify_exception
from sidecar.policy import DeadlineExceeded as TimeUp
from sidecar.wire.usage import merge_usage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["completed", "follow", "goes_on", "options_for", "parameters", "refused", "told"]

_PHASES: Final = ("connect", "read", "write", "pool")
_TIMEOUT: Final = "timeout"


def parameters(course: Course, client: Any) -> dict[str, Any]:
    """Give the parameters of the next call of ``create``."""
    asked = course.ask()
    timeout = _timeout(course, client, asked.get(_TIMEOUT, NOT_GIVEN))
    return asked if isinstance(timeout, NotGiven) else {**asked, _TIMEOUT: timeout}


def options_for(course: Course, client: Any, options: Any) -> Any:
    """Give the options of the next request, from those of the first."""
    asking = options.model_copy()
    asking.json_data = course.ask()
    asking.timeout = _timeout(course, client, options.timeout)
    return asking


def _timeout(course: Course, client: Any, given: Any) -> Any:
    """Cut a call's timeout to the time that is left, where no policy sees to that."""
    seconds = course.seconds()
    if seconds is None or policies_of(client) is not None:
        return given
    timeout = client.timeout if isinstance(given, NotGiven) else given
    limits = timeout.as_dict() if hasattr(timeout, "as_dict") else dict.fromkeys(_PHASES, timeout)
    return httpx2.Timeout(**{name: seconds if value is None else min(value, seconds) for name, value in limits.items()})


def follow(event: Any, course: Course, stream: Any) -> "Iterator[Any]":
    """Take an event of the SDK's; give what follows of it. ``stream``: the SDK's own that it is of."""
    data = event.to_dict(warnings=False)  # of blocks that this SDK does not know yet
    for out in course.take(data):
        yield event if out is data else told(out, stream)


def told(event: Event, stream: Any) -> Any:
    """Make an event into what a stream of the SDK's makes of it."""
    return stream._client._process_response_data(  # noqa: SLF001  # there is no other way to ask it
        data=event,
        cast_to=stream._cast_to,  # noqa: SLF001
        response=stream.response,
    )


def completed(course: Course) -> Completed:
    """Hand over the whole answer."""
    message = Message.construct(**course.joined.message())
    message._request_id = course.turns[-1].request_id  # noqa: SLF001  # public, for all its name: the SDK documents it
    return Completed(message=message, turns=course.turns, limit=course.limit)


def goes_on(course: Course, stream: Any, error: Exception | None) -> bool:
    """Say whether another turn follows, now that one has ended, or was broken by ``error``.

    Raises what tells of an answer that broke off for good.
    """
    response = stream.response
    follows = course.turn_over(error, response.headers.get("request-id"))
    if follows is Next.FAIL:
        raise _interrupted(course, response.request) from error
    return follows is Next.GO_ON


def refused(course: Course, error: Exception, client: Any) -> Exception | None:
    """Give what to raise of a call that failed before its answer began; None: the error as it is."""
    request = httpx2.Request("POST", client.base_url)
    if course.joined.started:
        course.verdict = classify_exception(error)
        return _interrupted(course, request)
    if isinstance(error, TimeUp) and not isinstance(error, DeadlineExceeded):
        return DeadlineExceeded.refusing(error, request)
    return None


def _interrupted(course: Course, request: httpx2.Request) -> errors.StreamInterrupted:
    """Make the error that says what broke the answer for good, with what had come of it in all its turns."""
    message = course.joined.message()
    partial = PartialMessage(
        text=course.joined.text,
        content=tuple(message["content"]),
        message=message,
        usage=merge_usage(message["usage"]),
        stop_reason=course.joined.stop_reason,
    )
    request_id = course.turns[-1].request_id if course.turns else None
    verdict = course.verdict
    return errors.interrupted(
        request=request, partial=partial, outcome=verdict.outcome, phase=verdict.phase, request_id=request_id
    )
