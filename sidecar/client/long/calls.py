"""`complete` and `resumable_stream`: long answers, asked for by call. Each takes a client of either kind."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from sidecar.client.long.course import MAX_TURNS, Bounds, Course
from sidecar.client.long.joint import CONTINUE
from sidecar.client.long.results import Completed

if TYPE_CHECKING:
    import anthropic

    from sidecar.client.long.shell_async import AsyncResumableStream
    from sidecar.client.long.shell_sync import ResumableStream

    _Sync: TypeAlias = anthropic.Anthropic | anthropic.AnthropicBedrock | anthropic.AnthropicVertex
    _Async: TypeAlias = anthropic.AsyncAnthropic | anthropic.AsyncAnthropicBedrock | anthropic.AsyncAnthropicVertex

__all__ = ["complete", "resumable_stream"]


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
    course = _course("complete", create, max_turns, max_total_tokens, deadline, prompt=prompt, shown=False)
    if _is_async("complete", client):
        from sidecar.client.long import shell_async  # noqa: PLC0415  # loads anthropic

        return shell_async.complete(client, course)
    from sidecar.client.long import shell_sync  # noqa: PLC0415  # loads anthropic

    return shell_sync.complete(client, course)


@overload
def resumable_stream(
    client: "_Sync",
    *,
    max_turns: int = ...,
    max_total_tokens: int | None = ...,
    deadline: float | None = ...,
    prompt: str = ...,
    **create: Any,
) -> "ResumableStream": ...
@overload
def resumable_stream(
    client: "_Async",
    *,
    max_turns: int = ...,
    max_total_tokens: int | None = ...,
    deadline: float | None = ...,
    prompt: str = ...,
    **create: Any,
) -> "AsyncResumableStream": ...
def resumable_stream(
    client: "_Sync | _Async",
    *,
    max_turns: int = MAX_TURNS,
    max_total_tokens: int | None = None,
    deadline: float | None = None,
    prompt: str = CONTINUE,
    **create: Any,
) -> "ResumableStream | AsyncResumableStream":
    """Stream an answer as ``client.messages.stream()`` does, and go on where it stops at ``max_tokens`` or breaks off.

    Entered with ``with`` (``async with``), it gives the SDK's own stream helper, which sees one stream and one message.
    It takes what `complete` takes, and raises what `complete` raises.
    """
    course = _course("resumable_stream", create, max_turns, max_total_tokens, deadline, prompt=prompt, shown=True)
    if _is_async("resumable_stream", client):
        from sidecar.client.long.shell_async import AsyncResumableStream  # noqa: PLC0415  # loads anthropic

        return AsyncResumableStream(client, course)
    from sidecar.client.long.shell_sync import ResumableStream  # noqa: PLC0415  # loads anthropic

    return ResumableStream(client, course)


def _course(
    name: str,
    create: dict[str, Any],
    max_turns: int,
    max_total_tokens: int | None,
    seconds: float | None,
    *,
    prompt: str,
    shown: bool,
) -> Course:
    if "stream" in create:
        raise TypeError(f"{name}() takes what messages.create() takes, without stream: it always streams")
    bounds = Bounds.of(max_turns=max_turns, max_total_tokens=max_total_tokens, seconds=seconds)
    return Course(create, bounds, shown=shown, prompt=prompt)


def _is_async(name: str, client: Any) -> bool:
    from anthropic._base_client import AsyncAPIClient, SyncAPIClient  # noqa: PLC0415  # loads when it is used

    if not isinstance(client, SyncAPIClient | AsyncAPIClient):
        found = f"{type(client).__module__}.{type(client).__qualname__}"
        raise TypeError(f"{name}() takes a client of the anthropic package, not {found}: hand it the one that calls")
    return isinstance(client, AsyncAPIClient)
