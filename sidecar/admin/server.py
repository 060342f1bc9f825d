"""`AdminServer`: owns the listening socket, the open connections and the table of routes."""

import asyncio
import errno
import logging
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Final

from sidecar.admin.connection import Connection
from sidecar.admin.http import Handler, Request, Response
from sidecar.admin.listen import Address, AdminError, host_is_ours

MAX_CONNECTIONS: Final = 256
_READS: Final = frozenset({"GET", "HEAD"})
_LOGGER: Final = logging.getLogger("sidecar.admin")


class AdminServer:
    """Serves ``routes`` (path -> handler) to GET and HEAD.

    ``names``: names under which browsers may come besides ``localhost`` (see ``host_is_ours``).
    """

    def __init__(self, address: Address, routes: Mapping[str, Handler], *, names: Collection[str] = ()) -> None:
        self._address: Final = address
        self._routes: Final = dict(routes)
        self._names: Final = frozenset(name.lower() for name in names)
        self._connections: Final[set[Connection]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen; raises `AdminError` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self._answer, self._connections, MAX_CONNECTIONS),
                self._address.host,
                self._address.port,
            )
        except OSError as error:
            reason = {
                errno.EADDRINUSE: "another program listens there",
                errno.EADDRNOTAVAIL: "this machine does not have that address",
                errno.EACCES: "the system does not allow this user to",
            }.get(error.errno or 0, error.strerror or str(error))
            raise AdminError(f"cannot listen on {self._address}: {reason}; choose another address") from error

    @property
    def address(self) -> Address:
        """Where it listens, with the port that the system gave for port 0."""
        if self._server is None or not self._server.sockets:
            return self._address
        return Address(self._address.host, self._server.sockets[0].getsockname()[1])

    async def stop(self, grace: float = 2.0) -> None:
        """Stop listening, let answers under way finish for ``grace`` seconds, then close every connection."""
        if self._server is None:
            return
        self._server.close()
        leaving = list(self._connections)
        for connection in leaving:
            connection.finish()
        if leaving:
            await asyncio.wait([connection.closed for connection in leaving], timeout=grace)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in leaving))
        await self._server.wait_closed()
        self._server = None

    async def _answer(self, request: Request) -> Response:
        if not host_is_ours(request.headers.get("host", ""), self._address, self._names):
            return Response.text(
                "This server answers to localhost and numeric addresses only, so that no other site can read it.\n",
                HTTPStatus.MISDIRECTED_REQUEST,
            )
        handler = self._routes.get(request.path)
        if handler is None:
            known = ", ".join(sorted(self._routes))
            return Response.text(f"There is nothing here. There is: {known}\n", HTTPStatus.NOT_FOUND)
        if request.method not in _READS:
            allow = ("Allow", "GET, HEAD")
            return Response.text("This page can only be read: use GET.\n", HTTPStatus.METHOD_NOT_ALLOWED, allow)
        try:
            return await handler(request)
        except Exception:
            _LOGGER.exception("the handler of %s failed", request.path)
            return Response.text("This page failed; the log says where.\n", HTTPStatus.INTERNAL_SERVER_ERROR)
