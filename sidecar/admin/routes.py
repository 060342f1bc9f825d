"""The routes every sidecar has: metrics, and the two questions an orchestrator asks."""

import asyncio
from collections.abc import Callable
from typing import Final

from sidecar.admin.http import Handler, Request, Response
from sidecar.telemetry import Telemetry
from sidecar.telemetry.page import PATH, MetricsPage

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


def standard_routes(telemetry: Telemetry, readiness: Readiness) -> dict[str, Handler]:
    """Return ``/metrics``, ``/healthz`` (the process answers) and ``/readyz`` (it should be given work)."""
    page = MetricsPage(telemetry)

    async def metrics(request: Request) -> Response:
        accept, encoding = (request.headers.get(name, "") for name in ("accept", "accept-encoding"))
        # In a thread: rendering thousands of series takes milliseconds that the event loop has not to give.
        answer = await asyncio.to_thread(page.answer, "GET", accept, encoding)
        return Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def healthz(_request: Request) -> Response:
        return Response.text("ok\n")

    async def readyz(_request: Request) -> Response:
        problems = readiness.problems()
        if not problems:
            return Response.text("ready\n")
        return Response.text("".join(f"{name}: {problem}\n" for name, problem in problems.items()), 503)

    return {PATH: metrics, "/healthz": healthz, "/readyz": readyz}
