"""Reaching the upstream: addresses that race, names that move, tunnels, and TLS that trusts nobody by itself."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest
import trustme

from sidecar.proxy import connect
from sidecar.proxy.connect import first_of
from sidecar.proxy.origin import ForwardProxy, Origin
from sidecar.proxy.resolve import Address, Resolver, interleave
from sidecar.proxy.tls import client_context
from tests.proxy.kit import Peer, Script, Upstream, answer, becomes, echo, request, running

INET, INET6 = socket.AF_INET, socket.AF_INET6


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class TlsUpstream(Upstream):
    """The same, over TLS; it notes what was agreed on."""

    def __init__(self, context: ssl.SSLContext, reply: bytes = answer(b"ok")) -> None:
        super().__init__(echo(reply))
        self._context = context
        self.agreed: list[tuple[str | None, bool | None]] = []

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        self.agreed.append((tls.selected_alpn_protocol(), tls.session_reused))
        await super()._connected(reader, writer)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_upstream_over_tls_is_verified_spoken_to_in_http_1_1_and_its_session_taken_up_again(
    authority: trustme.CA, ca_file: str, version: ssl.TLSVersion
) -> None:
    context = server_context(authority, "localhost")
    context.maximum_version = version
    async with TlsUpstream(context, answer(b"ok", b"Connection: close")) as upstream:
        origin = Origin("https", "localhost", upstream.port)
        async with running(origin, ca_file=ca_file) as proxy, await proxy.client() as client:
            for _ in range(3):
                await client.send(request())
                assert (await client.message())[2] == b"ok"
        assert upstream.agreed == [("http/1.1", False), ("http/1.1", True), ("http/1.1", True)]


class Handshaken:
    """A TLS object after its handshake."""

    def __init__(self, offered: object, session: object, *, reused: bool, closed: bool) -> None:
        self.offered = offered
        self.session = session
        self.session_reused = reused
        self._closed = closed

    def write(self, data: bytes) -> int:
        if self._closed:
            raise ssl.SSLZeroReturnError("TLS/SSL connection has been closed")
        return len(data)


@pytest.mark.parametrize("closed", [False, True])
def test_a_session_is_offered_for_as_long_as_it_is_taken_up(closed: bool) -> None:
    context = client_context()
    first, of_its_time, second, third = (object() for _ in range(4))

    def answered(offered: object, session: object, *, reused: bool) -> object:
        context.answered(Handshaken(offered, session, reused=reused, closed=closed))  # type: ignore[arg-type]
        return context.session

    assert answered(None, None, reused=False) is None
    assert answered(None, first, reused=False) is first
    assert answered(None, of_its_time, reused=False) is first  # it was made before there was one to offer
    assert answered(first, second, reused=True) is first
    assert answered(first, third, reused=False) is third


CERTIFICATES = {"of another name": ("other.test", True), "of an unknown authority": ("localhost", False)}


@pytest.mark.parametrize(("name", "known"), CERTIFICATES.values(), ids=CERTIFICATES)
async def test_a_certificate_that_cannot_be_trusted_is_refused(
    authority: trustme.CA, ca_file: str, name: str, known: bool
) -> None:
    async with TlsUpstream(server_context(authority if known else trustme.CA(), name)) as upstream:
        origin = Origin("https", "localhost", upstream.port)
        async with running(origin, ca_file=ca_file) as proxy, await proxy.client() as client:
            await client.send(request())
            start, headers, body = await client.message()
            assert (start, headers[b"x-sidecar-error"]) == (b"HTTP/1.1 502 Bad Gateway", b"upstream_unreachable")
            assert b"certificate was refused" in body


async def test_an_upstream_that_does_not_speak_tls_is_refused(ca_file: str) -> None:
    async def plain(peer: Peer) -> None:
        await peer.recv()
        await peer.send(answer(b"what is this?", status=b"400 Bad Request"))

    async with Upstream(plain) as upstream:
        origin = Origin("https", "localhost", upstream.port)
        async with running(origin, ca_file=ca_file) as proxy, await proxy.client() as client:
            await client.send(request())
            start, headers, body = await client.message()
            assert (start, headers[b"x-sidecar-error"]) == (b"HTTP/1.1 502 Bad Gateway", b"upstream_unreachable")
            assert b"TLS handshake" in body


def test_without_a_file_the_systems_authorities_are_trusted() -> None:
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.session is None


# --- forward proxies


@asynccontextmanager
async def forward(reply: bytes, to: int) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a forward proxy that gives this reply, and tunnels if it is a 200."""
    asked: list[bytes] = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.until(b"\r\n\r\n"))
        await peer.send(reply)
        if not reply.startswith(b"HTTP/1.1 200"):
            return
        other = Peer(*await asyncio.open_connection("127.0.0.1", to))
        async with other:
            await asyncio.gather(pump(peer, other), pump(other, peer))

    async with Upstream(script) as server:
        yield server.port, asked


async def pump(source: Peer, sink: Peer) -> None:
    while data := await source.recv():
        await sink.send(data)
    sink.close()


async def test_an_upstream_is_reached_through_a_tunnel(authority: trustme.CA, ca_file: str) -> None:
    async with TlsUpstream(server_context(authority, "localhost")) as upstream:
        origin = Origin("https", "localhost", upstream.port)
        async with forward(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", upstream.port) as (port, asked):
            via = ForwardProxy("127.0.0.1", port, b"Basic dTpw")
            async with running(origin, ca_file=ca_file, via=via) as proxy, await proxy.client() as client:
                await client.send(request())
                assert (await client.message())[2] == b"ok"
        target = b"localhost:%d" % upstream.port
        assert asked == [
            b"CONNECT %b HTTP/1.1\r\nhost: %b\r\nproxy-authorization: Basic dTpw\r\n\r\n" % (target, target)
        ]


REFUSALS = {
    "a refusal": (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"(407)"),
    "bytes before anyone spoke": (b"HTTP/1.1 200 OK\r\n\r\nhello", b"(200)"),
    "no HTTP": (b"\x05\x00\r\n\r\n", b"(no status)"),
    "an end": (b"HTTP/1.1 200", b"broke off"),
    "no end": (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 20_000, b"broke off"),
}


@pytest.mark.parametrize(("reply", "says"), REFUSALS.values(), ids=REFUSALS)
async def test_a_tunnel_that_does_not_come_about_is_a_502(ca_file: str, reply: bytes, says: bytes) -> None:
    async with Upstream(script_that_says(reply)) as server:
        via = ForwardProxy("127.0.0.1", server.port)
        origin = Origin("https", "::1", 443)
        async with running(origin, ca_file=ca_file, via=via) as proxy, await proxy.client() as client:
            await client.send(request())
            start, headers, body = await client.message()
            assert (start, headers[b"x-sidecar-error"]) == (b"HTTP/1.1 502 Bad Gateway", b"upstream_unreachable")
            assert says in body


def script_that_says(reply: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.until(b"\r\n\r\n")
        await peer.send(reply)

    return script


# --- names and addresses


async def test_a_name_that_does_not_exist_is_a_502() -> None:
    origin = Origin("http", "no-such-host.invalid", 80)
    async with running(origin) as proxy, await proxy.client() as client:
        await client.send(request())
        start, headers, body = await client.message()
        assert (start, headers[b"x-sidecar-error"]) == (b"HTTP/1.1 502 Bad Gateway", b"upstream_unreachable")
        assert b"could not be looked up" in body


async def test_localhost_is_reached_whichever_family_listens() -> None:
    async with (
        Upstream(echo(answer(b"ok"))) as upstream,
        running(Origin("http", "localhost", upstream.port)) as proxy,
        await proxy.client() as client,
    ):
        await client.send(request())
        assert (await client.message())[2] == b"ok"


async def test_an_address_that_is_refused_costs_one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Upstream(echo(answer(b"ok"))) as upstream, Upstream() as closed:
        unused = closed.port
        await closed.__aexit__(None, None, None)
        addresses = [Address(INET, ("127.0.0.1", unused)), Address(INET, ("127.0.0.1", upstream.port))]

        async def both(_: Resolver) -> list[Address]:
            return addresses

        monkeypatch.setattr(Resolver, "addresses", both)
        async with running(upstream.port) as proxy, await proxy.client() as client:
            await client.send(request())
            assert (await client.message())[2] == b"ok"


def test_families_take_turns() -> None:
    a, b, c = (Address(INET6, (f"::{n}", 1, 0, 0)) for n in (1, 2, 3))
    x = Address(INET, ("10.0.0.1", 1))
    assert interleave([a, b, c, x]) == [a, x, b, c]
    assert interleave([x, a, b]) == [x, a, b]


class Lookups:
    """A loop's clock and look-ups, by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.address = "10.0.0.1"
        self.error: OSError | None = None

    def time(self) -> float:
        return self.now

    async def getaddrinfo(self, *_: object, **__: object) -> list[tuple[object, ...]]:
        if self.error is not None:
            raise self.error
        return [(INET, socket.SOCK_STREAM, 6, "", (self.address, 80))]


async def test_a_name_is_looked_up_again_and_the_last_answer_kept_when_that_fails() -> None:
    loop = Lookups()
    resolver = Resolver(loop, "api.test", 80, fresh=30.0)  # type: ignore[arg-type]  # all it needs

    async def seen() -> object:
        return (await resolver.addresses())[0].sockaddr[0]

    assert await seen() == "10.0.0.1"
    loop.address = "10.0.0.2"
    assert await seen() == "10.0.0.1"
    loop.now = 30.0
    assert await seen() == "10.0.0.2"
    loop.now, loop.error = 60.0, OSError("no DNS")
    assert await seen() == "10.0.0.2"
    loop.error, loop.address = None, "10.0.0.3"
    resolver.doubt()
    assert await seen() == "10.0.0.3"


async def test_a_first_look_up_that_fails_is_an_error() -> None:
    loop = Lookups()
    loop.error = OSError("no DNS")
    with pytest.raises(OSError, match="no DNS"):
        await Resolver(loop, "api.test", 80).addresses()  # type: ignore[arg-type]  # all it needs


class Sockets:
    """Tries of `first_of`, each with a pair of sockets to win with."""

    def __init__(self) -> None:
        self.pairs = [socket.socketpair() for _ in range(3)]
        self.started: list[int] = []

    async def win(self, n: int) -> socket.socket:
        self.started.append(n)
        return self.pairs[n][0]

    async def fail(self, n: int) -> socket.socket:
        self.started.append(n)
        raise ConnectionRefusedError(n)

    async def hang(self, n: int) -> socket.socket:
        self.started.append(n)
        try:
            await asyncio.Event().wait()
        finally:
            self.started.append(-n)
        raise AssertionError

    def close(self) -> None:
        for pair in self.pairs:
            pair[0].close()
            pair[1].close()


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.close()


async def test_the_next_address_is_tried_when_one_fails_or_takes_long(sockets: Sockets) -> None:
    tries = [lambda: sockets.fail(0), lambda: sockets.hang(1), lambda: sockets.win(2)]
    assert await first_of(tries, 0.01) is sockets.pairs[2][0]
    assert sockets.started == [0, 1, 2, -1]  # the loser was cancelled


async def test_an_address_that_answers_at_once_is_the_only_one_tried(sockets: Sockets) -> None:
    assert await first_of([lambda: sockets.win(0), lambda: sockets.win(1)], 10) is sockets.pairs[0][0]
    assert sockets.started == [0]


async def test_when_all_addresses_fail_the_first_error_is_told(sockets: Sockets) -> None:
    with pytest.raises(ConnectionRefusedError, match="0"):
        await first_of([lambda: sockets.fail(0), lambda: sockets.fail(1)], 10)


async def test_a_race_that_is_cancelled_leaves_nothing_open(sockets: Sockets) -> None:
    race = asyncio.ensure_future(first_of([lambda: sockets.hang(1), lambda: sockets.hang(2)], 0.001))
    await becomes(lambda: len(sockets.started) == 2)
    race.cancel()
    with pytest.raises(asyncio.CancelledError):
        await race
    assert sorted(sockets.started[2:]) == [-2, -1]


async def test_two_winners_at_once_leave_one_open(sockets: Sockets) -> None:
    gate = asyncio.Event()

    async def win_later(n: int) -> socket.socket:
        sockets.started.append(n)
        await gate.wait()
        return sockets.pairs[n][0]

    race = asyncio.ensure_future(first_of([lambda: win_later(0), lambda: win_later(1)], 0.001))
    await becomes(lambda: sockets.started == [0, 1])
    gate.set()
    winner = await race
    assert sorted(pair[0].fileno() == -1 for pair in sockets.pairs[:2]) == [False, True]
    assert winner.fileno() != -1


async def test_no_address_at_all_is_an_error() -> None:
    with pytest.raises(OSError, match="no addresses"):
        await first_of([], connect.STAGGER)
