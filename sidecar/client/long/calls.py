"""`complete`: a long answer, asked for by call. It takes a client of either kind."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from sidecar.client.long.course import Course
from sidecar.client.long.joint import CONTINUE
from sidecar.client.long.results import Completed
from sidecar.client.long.resume import MAX_TURNS, Resume

if TYPE_CHECKING:
    import anthropic

    _Sync: TypeAlias = anthropic.Anthropic | anthropic.AnthropicBedrock | anthropic.AnthropicVertex
    _Async: TypeAlias = anthropic.AsyncAnthropic | anthropic.AsyncAnthropicBedrock | anthropic.AsyncAnthropicVertex

__all__ = ["complete"]


@overload
def complete(
    client: "_Sync",
    *,
    max_turns: int = ...,
    max_total_tokens: int | None = ...,
    deadline: float | None = ...,
    prompt: str = ...,
    **create: Any,
) -> Completed: ...
@overload
def complete(
    client: "_Async",
    *,
    max_turns: int = ...,
    max_total_tokens: int | None = ...,
    deadline: float | None = ...,
    prompt: str = ...,
    **create: Any,
) -> Coroutine[Any, Any, Completed]: ...
def complete(
    client: "_Sync | _Async",
    *,
    max_turns: int = MAX_TURNS,
    max_total_tokens: int | None = None,
    deadline: float | None = None,
    prompt: str = CONTINUE,
    **create: Any,
) -> Completed | Coroutine[Any, Any, Completed]:
    """Get a whole answer, continued where it stopped at ``max_tokens`` or where its stream broke off.

    ``create``: what ``messages.create()`` takes. At most ``max_turns`` calls are made, with ``max_total_tokens`` of
    output, in ``deadline`` seconds. ``prompt``: what the user's turn says that asks for the rest. With an async client
    it is awaited. An answer that breaks off for good raises `StreamInterrupted`, whose ``partial`` holds all its turns.
    """
    if "stream" in create:
        raise TypeError("complete() takes what messages.create() takes, without stream: it always streams")
    bounds = Resume(max_turns=max_turns, max_total_tokens=max_total_tokens, deadline=deadline, prompt=prompt)
    course = Course(create, bounds, shown=False)
    if _is_async(client):
        from sidecar.client.long import shell_async  # noqa: PLC0415  # loads anthropic

        return shell_async.complete(client, course)
    from sidecar.client.long import shell_sync  # noqa: PLC0415  # loads anthropic

    return shell_sync.complete(client, course)


def _is_async(client: Any) -> bool:
    from anthropic._base_client import AsyncAPIClient, SyncAPIClient  # noqa: PLC0415  # loads when it is used

    if not isinstance(client, SyncAPIClient | AsyncAPIClient):
        found = f"{type(client).__module__}.{type(client).__qualname__}"
        raise TypeError(f"complete() takes a client of the anthropic package, not {found}: hand it the one that calls")
    return isinstance(client, AsyncAPIClient)
