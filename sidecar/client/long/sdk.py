"""What the shells of both kinds say to the SDK: parameters, events as its objects, and errors. Loads anthropic."""

from typing import TYPE_CHECKING, Any, Final

import httpx2
from anthropic import NOT_GIVEN, NotGiven
from anthropic.types import (
    Message,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
)

from sidecar.client import errors
from sidecar.client.errors import DeadlineExceeded, PartialMessage
from sidecar.client.long.course import Course
from sidecar.client.long.joined import Event
from sidecar.client.long.results import Completed
from sidecar.client.long.underneath import policies_of
from sidecar.model import classify_exception
from sidecar.policy import DeadlineExceeded as TimeUp
from sidecar.wire.usage import merge_usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropic.types import RawMessageStreamEvent

__all__ = ["completed", "follow", "interrupted", "parameters", "refused", "told"]

_PHASES: Final = ("connect", "read", "write", "pool")
_CLASSES: Final[dict[str, Any]] = {
    "message_start": RawMessageStartEvent,
    "content_block_start": RawContentBlockStartEvent,
    "content_block_delta": RawContentBlockDeltaEvent,
    "content_block_stop": RawContentBlockStopEvent,
    "message_delta": RawMessageDeltaEvent,
    "message_stop": RawMessageStopEvent,
}


def parameters(course: Course, client: Any) -> dict[str, Any]:
    """Give the parameters of the next call, its timeout cut to the time that is left, where no policy sees to that."""
    asked = course.ask()
    seconds = course.seconds()
    if seconds is not None and policies_of(client) is None:
        given = asked.get("timeout", NOT_GIVEN)
        asked["timeout"] = _capped(client.timeout if isinstance(given, NotGiven) else given, seconds)
    return asked


def _capped(timeout: Any, seconds: float) -> httpx2.Timeout:
    given = timeout.as_dict() if hasattr(timeout, "as_dict") else dict.fromkeys(_PHASES, timeout)
    return httpx2.Timeout(**{name: seconds if value is None else min(value, seconds) for name, value in given.items()})


def follow(event: "RawMessageStreamEvent", course: Course) -> "Iterator[RawMessageStreamEvent]":
    """Take an event of the SDK's; give what follows of it."""
    data = event.to_dict(warnings=False)  # of blocks that this SDK does not know yet
    for out in course.take(data):
        yield event if out is data else told(out)


def told(event: Event) -> "RawMessageStreamEvent":
    """Make an event into the SDK's."""
    return _CLASSES[event["type"]].construct(**event)  # type: ignore[no-any-return]


def completed(course: Course) -> Completed:
    """Hand over the whole answer."""
    message = Message.construct(**course.joined.message())
    message._request_id = course.turns[-1].request_id  # noqa: SLF001  # public, for all its name: the SDK documents it
    return Completed(message=message, turns=course.turns, limit=course.limit)


def refused(course: Course, error: Exception, client: Any) -> Exception | None:
    """Give what to raise of a call that failed before its answer began; None: the error as it is."""
    request = httpx2.Request("POST", client.base_url)
    if course.joined.started:
        course.verdict = classify_exception(error)
        return interrupted(course, request)
    if isinstance(error, TimeUp) and not isinstance(error, DeadlineExceeded):
        return DeadlineExceeded.refusing(error, request)
    return None


def interrupted(course: Course, request: httpx2.Request) -> errors.StreamInterrupted:
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
