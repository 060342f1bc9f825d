"""The routes every sidecar has: metrics, the two questions an orchestrator asks, and the console for people."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from sidecar import console as pages
from sidecar.admin.http import Handler, Request, Response
from sidecar.admin.listen import Address, AdminError
from sidecar.admin.slices import in_slices, one_by_one
from sidecar.telemetry import Telemetry
from sidecar.telemetry.page import PATH, MetricsPage

_FEW_PARTS: Final = 4
"""So many are sent as one body, whose length is told."""

Check = Callable[[], str | None]
"""Says why not ready, in a few words, or None."""


class Readiness:
    """Whether this process should be given work: ready when every check is."""

    def __init__(self) -> None:
        self._checks: Final[dict[str, Check]] = {}

    def add(self, name: str, check: Check) -> None:
        """Ask ``check`` from now on."""
        self._checks[name] = check

    def problems(self) -> dict[str, str]:
        """Ask every check; a check that fails is a problem too."""
        problems: dict[str, str] = {}
        for name, check in self._checks.items():
            try:
                problem = check()
            except Exception as error:  # noqa: BLE001  # a broken check must not look like a healthy one
                problem = f"the check failed ({type(error).__name__})"
            if problem is not None:
                problems[name] = problem
        return problems


def standard_routes(
    telemetry: Telemetry, readiness: Readiness, *, console: pages.Console | None = None
) -> dict[str, Handler]:
    """Return ``/metrics``, ``/healthz`` (the process answers) and ``/readyz`` (it should be given work).

    With a console its pages too; they may ask for a token, the others never do.
    """
    page = MetricsPage(telemetry)

    async def metrics(request: Request) -> Response:
        accept, encoding = (request.headers.get(name, "") for name in ("accept", "accept-encoding"))
        headers, pieces = page.pieces(accept, encoding)
        try:
            parts = await in_slices(pieces)
        except Exception as error:  # noqa: BLE001  # a scraper is told, the program goes on
            telemetry.internal_error("scrape", error)
            return Response.text("The metrics could not be rendered; the log says where.\n", 500)
        body = b"".join(parts) if len(parts) <= _FEW_PARTS else one_by_one(parts)
        return Response(body=body, headers=tuple(headers))

    async def healthz(_request: Request) -> Response:
        return Response.text("ok\n")

    async def readyz(_request: Request) -> Response:
        problems = readiness.problems()
        if not problems:
            return Response.text("ready\n")
        return Response.text("".join(f"{name}: {problem}\n" for name, problem in problems.items()), 503)

    routes: dict[str, Handler] = {PATH: metrics, "/healthz": healthz, "/readyz": readyz}
    if console is not None:
        routes |= dict.fromkeys(console.paths(), _console_handler(console))
    return routes


def open_console(telemetry: Telemetry, listening: Address, *, mode: str) -> pages.Console:
    """Begin to keep the history for a console at this address; ``mode`` says how the sidecar runs.

    The token comes from the environment; raises `AdminError` when that cannot be used.
    """
    try:
        return pages.Console(telemetry, mode=mode, remote=not listening.is_loopback, token=pages.read_token())
    except pages.TokenError as error:
        raise AdminError(str(error)) from error


def _console_handler(console: pages.Console) -> Handler:
    async def handler(request: Request) -> Response:
        asked = pages.asked(request.method, request.path, request.query, request.headers)
        # In a thread, for the same reason.
        answer = await asyncio.to_thread(console.answer, asked)
        if isinstance(answer, pages.Viewer):
            return Response(body=_live(answer), headers=answer.headers)
        return Response(status=answer.status, body=answer.body, headers=answer.headers)

    return handler


async def _live(viewer: pages.Viewer) -> AsyncIterator[bytes]:
    try:
        while (event := await asyncio.to_thread(viewer.next)) is not None:
            yield event
            await asyncio.sleep(pages.EVERY)
    finally:
        viewer.close()
