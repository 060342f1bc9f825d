"""The metrics page as WSGI and ASGI applications, to mount in an application or to serve alone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any

from sidecar.telemetry.page import PATH, Answer, MetricsPage, not_found
from sidecar.telemetry.telemetry import Telemetry

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Asgi = Callable[
    [dict[str, Any], Callable[[], Awaitable[dict[str, Any]]], Callable[[dict[str, Any]], Awaitable[None]]],
    Awaitable[None],
]


def metrics_wsgi_app(telemetry: Telemetry | None = None) -> Wsgi:
    """Return a WSGI application that answers at ``/metrics``, or where it is mounted."""
    page = MetricsPage(telemetry)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if _is_ours(environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")):
            answer = page.answer(method, environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_ENCODING", ""))
        else:
            answer = not_found()
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", list(answer.headers))
        return [answer.body]

    return app


def metrics_asgi_app(telemetry: Telemetry | None = None) -> Asgi:
    """Return an ASGI application (for asyncio) that answers at ``/metrics``, or where it is mounted."""
    page = MetricsPage(telemetry)

    async def app(
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            root = scope.get("root_path", "")
            if _is_ours(scope["path"].removeprefix(root), root):
                # In a thread: rendering and compressing thousands of series should not hold up the event loop.
                answer = await asyncio.to_thread(
                    page.answer, scope["method"], _header(scope, b"accept"), _header(scope, b"accept-encoding")
                )
            else:
                answer = not_found()
            await _send(send, answer)
        else:
            raise ValueError(f"the metrics are served over HTTP, not over {scope['type']!r}: mount them elsewhere")

    return app


def _is_ours(path: str, mounted_at: str) -> bool:
    return path == PATH or (bool(mounted_at) and path in {"", "/"})


def _header(scope: dict[str, Any], name: bytes) -> str:
    # A header may come in several lines, which mean the same as one with commas.
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name)


async def _send(send: Callable[[dict[str, Any]], Awaitable[None]], answer: Answer) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _live(
    receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
