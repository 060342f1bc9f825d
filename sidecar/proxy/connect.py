"""One new connection to an upstream: look-up, happy eyeballs (RFC 8305), forward proxy, TLS."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from sidecar.proxy.errors import Fault
from sidecar.proxy.limits import Limits
from sidecar.proxy.origin import ForwardProxy, Origin
from sidecar.proxy.resolve import Address, Resolver
from sidecar.proxy.sockets import keep_alive
from sidecar.proxy.tls import ResumingContext

STAGGER: Final = 0.25
"""Seconds given to one address before the next is tried beside it."""

_TUNNEL_ANSWER: Final = 16 * 1024


class Connector:
    """Makes connections to one upstream."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        limits: Limits,
        *,
        tls: ResumingContext | None,
        via: ForwardProxy | None = None,
    ) -> None:
        self._loop = loop
        self._origin = origin
        self._limits = limits
        self._via = via
        self.tls = tls
        self._resolver = Resolver(loop, *((via.host, via.port) if via else (origin.host, origin.port)))

    async def connect(self, protocol: asyncio.Protocol) -> None:
        """Connect the protocol to the upstream; raises only Fault."""
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                await self._connect(protocol)
        except TimeoutError:
            self._resolver.doubt()
            raise Fault(
                "connect_timeout", f"the upstream could not be reached within {self._limits.connect_seconds:g} s"
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise Fault(
                "upstream_unreachable", f"the upstream's certificate was refused (reason {error.verify_code})"
            ) from None
        except ssl.SSLError:
            raise Fault("upstream_unreachable", "the TLS handshake with the upstream failed") from None
        except socket.gaierror:
            raise Fault("upstream_unreachable", "the upstream's name could not be looked up") from None
        except OSError as error:
            self._resolver.doubt()
            raise Fault(
                "upstream_unreachable", f"the upstream could not be reached (errno {error.errno or 0})"
            ) from None

    async def _connect(self, protocol: asyncio.Protocol) -> None:
        sock = await self._race(await self._resolver.addresses())
        try:
            if self._via is not None:
                await self._tunnel(sock, self._via)
            await self._loop.create_connection(
                lambda: protocol,
                sock=sock,
                ssl=self.tls,
                server_hostname=self._origin.host if self.tls else None,
            )
        except BaseException:
            sock.close()
            raise

    async def _race(self, addresses: Sequence[Address]) -> socket.socket:
        if len(addresses) == 1:
            return await self._open(addresses[0])
        return await first_of([lambda address=address: self._open(address) for address in addresses], STAGGER)  # type: ignore[misc]  # a default binds the loop's variable

    async def _open(self, address: Address) -> socket.socket:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)  # noqa: FBT003  # its only form
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock)
            await self._loop.sock_connect(sock, address.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _tunnel(self, sock: socket.socket, via: ForwardProxy) -> None:
        host = f"[{self._origin.host}]" if ":" in self._origin.host else self._origin.host
        target = b"%b:%d" % (host.encode("ascii"), self._origin.port)
        authorization = b"" if via.authorization is None else b"proxy-authorization: %b\r\n" % via.authorization
        await self._loop.sock_sendall(
            sock, b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, target, authorization)
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = await self._loop.sock_recv(sock, 4096)
            answer += piece
            if not piece or len(answer) > _TUNNEL_ANSWER:
                raise Fault("upstream_unreachable", "the forward proxy (HTTPS_PROXY) broke off")
        status = answer[: answer.index(b"\r\n")].split(b" ")[1:2]
        if status != [b"200"] or not answer.endswith(b"\r\n\r\n"):
            shown = status[0].decode("ascii") if status and status[0].isdigit() else "no status"
            raise Fault("upstream_unreachable", f"the forward proxy (HTTPS_PROXY) refused the tunnel ({shown})")


async def first_of(tries: Sequence[Callable[[], Coroutine[Any, Any, socket.socket]]], stagger: float) -> socket.socket:
    """Start the tries one after another, each when the one before failed or took long; the first to succeed wins.

    The losers are cancelled, and what they may still have opened is closed. When all fail, the first error is raised.
    """
    running: set[asyncio.Task[socket.socket]] = set()
    waiting = list(tries)
    first_error: BaseException | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(waiting.pop(0)()))
            done, running = await asyncio.wait(
                running, timeout=stagger if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    running |= done - {task}
                    return task.result()
                first_error = first_error or error
    finally:
        for task in running:
            task.cancel()
        for task in running:
            with suppress(asyncio.CancelledError, OSError):
                (await task).close()
    raise first_error or OSError("the name has no addresses")
