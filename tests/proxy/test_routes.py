"""Which upstream a request reaches, what its path becomes on the way, and what is recorded of it."""

import asyncio
import socket
from dataclasses import replace

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sidecar.model import Profile, Source
from sidecar.proxy.limits import Limits
from sidecar.proxy.origin import Origin
from sidecar.proxy.routes import Target
from sidecar.proxy.server import Proxy, Settings
from sidecar.proxy.shapes import Shape, Told, read_path
from sidecar.telemetry import Telemetry
from tests.proxy.kit import Peer, Upstream, answer, becomes, echo, request, running
from tests.proxy.memory import Records


def target(upstream: Upstream, name: str, **more: object) -> Target:
    made = Target(name=name, origin=Origin("http", "127.0.0.1", upstream.port))
    return replace(made, **more)  # type: ignore[arg-type]  # passed on


async def tell_target(peer: Peer) -> None:
    """Answer each request with its first line and its host."""
    while True:
        start, headers, _ = await peer.message()
        names = b",".join(sorted(name for name in headers if name.startswith(b"x-")))
        await peer.send(answer(start + b"|" + headers[b"host"] + b"|" + names))


async def ask(client: Peer, path: bytes, *headers: bytes) -> list[bytes]:
    await client.send(request(b"{}", *headers, target=path))
    return (await client.message())[2].split(b"|")


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        (b"/v1/messages", b"default /v1/messages"),
        (b"/b/v1/messages", b"b /v1/messages"),
        (b"/b", b"b /"),
        (b"/b?x=1", b"b /?x=1"),
        (b"/b/", b"b /"),
        (b"/bb/v1", b"default /bb/v1"),
        (b"/b/deep/v1", b"deep /v1"),
        (b"/x/b/v1", b"default /x/b/v1"),
    ],
)
async def test_a_path_goes_where_its_route_says_without_the_route(path: bytes, seen: bytes) -> None:
    async with Upstream(echo(answer(b"default"))) as default, Upstream(tell_target) as b, Upstream(tell_target) as deep:
        others = (target(b, "b", route="/b"), target(deep, "deep", route="/b/deep"))
        async with running(default.port, others=others) as proxy, await proxy.client() as client:
            first, *rest = await ask(client, path)
            name, _, expected = seen.partition(b" ")
            if name == b"default":
                assert (first, default.connections) == (b"default", 1)
            else:
                assert first == b"POST " + expected + b" HTTP/1.1"
                assert rest[0] == b"127.0.0.1:%d" % (b if name == b"b" else deep).port


async def test_a_header_names_the_upstream_and_goes_no_further() -> None:
    async with (
        Upstream(echo(answer(b"default"))) as default,
        Upstream(tell_target) as other,
        running(default.port, others=(target(other, "other"),)) as proxy,
        await proxy.client() as client,
    ):
        first, _, names = await ask(client, b"/v1/x", b"X-Sidecar-Upstream: Other", b"x-mine: 1")
        assert (first, names) == (b"POST /v1/x HTTP/1.1", b"x-mine")
        assert await ask(client, b"/v1/x", b"x-sidecar-upstream: default") == [b"default"]


async def test_an_upstream_nobody_knows_is_refused_and_recorded() -> None:
    telemetry, records = Telemetry(source=Source.PROXY), Records()
    telemetry.add_sink(records)
    async with Upstream(echo(answer())) as upstream:
        async with running(upstream.port, telemetry=telemetry) as proxy, await proxy.client() as client:
            await client.send(request(b"{}", b"x-sidecar-upstream: nowhere"))
            start, headers, body = await client.message()
            assert (start.split()[1], headers[b"x-sidecar-error"]) == (b"400", b"unknown_upstream")
            assert b"nowhere" not in body
        assert upstream.connections == 0
    assert [(call.outcome, call.error_type, call.attempts) for call in records.calls] == [
        ("client_error", "unknown_upstream", 0)
    ]


async def test_the_host_is_the_upstreams_own_unless_it_is_to_be_preserved() -> None:
    async with Upstream(tell_target) as own, Upstream(tell_target) as kept:
        others = (target(kept, "kept", route="/kept", preserve_host=True),)
        async with running(own.port, others=others) as proxy, await proxy.client() as client:
            assert (await ask(client, b"/x"))[1] == b"127.0.0.1:%d" % own.port
            await client.send(b"GET /kept/x HTTP/1.1\r\nHost:  Signed.Example:1 \r\n\r\n")
            assert (await client.message())[2].split(b"|")[1] == b"Signed.Example:1"


def sign(host: str, path: str, body: bytes) -> bytes:
    """Write a request as AWS's own library signs it for this host."""
    wanted = AWSRequest("POST", f"https://{host}{path}", {"host": host, "x-mine": "1"}, body)
    SigV4Auth(Credentials("AKID", "secret"), "bedrock", "us-east-1").add_auth(wanted)
    headers = [f"{name}: {value}".encode() for name, value in wanted.headers.items()]
    return request(body, *headers, target=path.encode()).replace(b"Host: api.test\r\n", b"")


def signature(start: bytes, headers: dict[bytes, bytes], body: bytes) -> str:
    """Sign what arrived, as AWS does to compare."""
    said = headers[b"authorization"].decode()
    names = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    arrived = AWSRequest("POST", "https://any" + start.split()[1].decode(), None, body)
    arrived.context["timestamp"] = headers[b"x-amz-date"].decode()
    for name in names:
        arrived.headers[name] = headers[name.encode()].decode()
    signer = SigV4Auth(Credentials("AKID", "secret"), "bedrock", "us-east-1")
    return str(signer.signature(signer.string_to_sign(arrived, signer.canonical_request(arrived)), arrived))


@pytest.mark.parametrize(
    ("host", "path", "more", "holds"),
    [
        ("127.0.0.1:{port}", "/model/m/invoke", {"route": "/model", "keep_route": True}, True),
        ("signed.test", "/model/m/invoke", {"route": "/model", "keep_route": True}, False),
        ("signed.test", "/model/m/invoke", {"route": "/model", "keep_route": True, "preserve_host": True}, True),
        ("127.0.0.1:{port}", "/bedrock/model/m/invoke", {"route": "/bedrock"}, False),
    ],
)
async def test_a_signature_of_aws_holds_where_host_and_path_arrive_as_they_were_signed(
    host: str, path: str, more: dict[str, object], holds: bool
) -> None:
    async with Upstream() as upstream:
        others = (target(upstream, "bedrock", shape=Shape.BEDROCK, **more),)
        async with running(1, others=others) as proxy, await proxy.client() as client:
            await client.send(sign(host.format(port=upstream.port), path, b"{}"))
            start, headers, body = await (await upstream.accept()).message()
    signed = headers[b"authorization"].decode().partition("Signature=")[2]
    assert (signature(start, headers, body) == signed) is holds


BEDROCK = b"/model/anthropic.claude-sonnet-5-v1%3A0/"
VERTEX = b"/v1/projects/p/locations/us-east5/publishers/anthropic/models/"


@pytest.mark.parametrize(
    ("shape", "path", "told"),
    [
        (Shape.ANTHROPIC, b"/v1/messages?beta=true", Told("messages")),
        (Shape.BEDROCK, BEDROCK + b"invoke", Told("messages", "anthropic.claude-sonnet-5-v1:0")),
        (
            Shape.BEDROCK,
            BEDROCK + b"invoke-with-response-stream",
            Told("messages", "anthropic.claude-sonnet-5-v1:0", stream=True),
        ),
        (Shape.BEDROCK, BEDROCK + b"count-tokens", Told("messages.count_tokens", "anthropic.claude-sonnet-5-v1:0")),
        (Shape.BEDROCK, b"/model/arn%3Aaws%3Abedrock%2Fx/invoke", Told("messages", "arn:aws:bedrock/x")),
        (Shape.BEDROCK, BEDROCK + b"converse", Told("other")),
        (Shape.BEDROCK, b"/v1/messages", Told("messages")),
        (Shape.BEDROCK, b"/model/" + b"x" * 257 + b"/invoke", Told("messages")),
        (Shape.BEDROCK, b"/model/a%0Ab/invoke", Told("messages")),
        (Shape.VERTEX, VERTEX + b"claude-sonnet-5@20260101:rawPredict", Told("messages", "claude-sonnet-5@20260101")),
        (Shape.VERTEX, VERTEX[3:] + b"m:streamRawPredict?alt=sse", Told("messages", "m", stream=True)),
        (Shape.VERTEX, VERTEX + b"count-tokens:rawPredict", Told("messages.count_tokens")),
        (Shape.VERTEX, VERTEX + b"m:predict", Told("other")),
    ],
)
def test_a_path_tells_endpoint_and_model_by_its_upstreams_shape(shape: Shape, path: bytes, told: Told) -> None:
    assert read_path(shape, path) == told


async def test_a_clouds_route_is_recorded_as_the_same_call_as_the_apis() -> None:
    telemetry, records = Telemetry(source=Source.PROXY), Records()
    telemetry.add_sink(records)
    reply = b'{"type":"message","usage":{"input_tokens":3,"output_tokens":5},"stop_reason":"end_turn"}'
    async with Upstream(echo(answer(reply, b"content-type: application/json"))) as upstream:
        others = (target(upstream, "bedrock", route="/bedrock", shape=Shape.BEDROCK),)
        async with running(1, telemetry=telemetry, others=others) as proxy, await proxy.client() as client:
            await client.send(
                request(b'{"max_tokens": 5}', target=b"/bedrock" + BEDROCK + b"invoke-with-response-stream")
            )
            await client.message()
    [attempt] = records.attempts
    assert (attempt.endpoint, attempt.model, attempt.stream) == ("messages", "anthropic.claude-sonnet-5-v1:0", True)
    assert (attempt.outcome, attempt.port) == ("ok", upstream.port)


async def test_a_listener_says_what_its_requests_are_for_where_nothing_else_does() -> None:
    telemetry, records = Telemetry(source=Source.PROXY), Records()
    telemetry.add_sink(records)
    async with Upstream(echo(answer())) as upstream, running(upstream.port, telemetry=telemetry) as proxy:
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        await proxy.proxy.listen(sock, Profile.BACKGROUND)
        for header in (b"x-none: 1", b"x-sidecar-profile: agentic"):
            async with Peer(*await asyncio.open_connection("127.0.0.1", port)) as client:
                await client.send(request(b"{}", header))
                await client.message()
    assert [attempt.profile for attempt in records.attempts] == [Profile.BACKGROUND, Profile.AGENTIC]


async def test_new_settings_hold_at_once_and_what_is_under_way_ends_as_it_began() -> None:
    async with (
        Upstream() as old,
        Upstream(echo(answer(b"new"))) as new,
        running(old.port) as proxy,
        await proxy.client() as waiting,
        await proxy.client() as client,
    ):
        await waiting.send(request(b"{}"))
        peer = await old.accept()
        await peer.message()
        proxy.proxy.apply(Settings(upstream=Origin("http", "127.0.0.1", new.port), limits=Limits(body_bytes=3)))
        assert await ask(client, b"/") == [b"new"]
        await client.send(request(b"four"))
        assert (await client.message())[1][b"x-sidecar-error"] == b"body_too_large"
        await peer.send(answer(b"old"))
        assert (await waiting.message())[2] == b"old"
        await peer.gone()  # a retired pool keeps no connection


async def test_an_upstream_that_did_not_change_keeps_its_connections() -> None:
    async with (
        Upstream(echo(answer(b"1"))) as upstream,
        running(upstream.port) as proxy,
        await proxy.client() as client,
    ):
        await ask(client, b"/")
        settings = Settings(upstream=Origin("http", "127.0.0.1", upstream.port), profile=Profile.AGENTIC)
        proxy.proxy.apply(settings)
        await ask(client, b"/")
        assert upstream.connections == 1
        changed = replace(settings, limits=Limits(in_flight=3))
        proxy.proxy.apply(changed)
        await ask(client, b"/")
        assert upstream.connections == 2


async def test_a_request_to_an_upstream_that_has_just_gone_is_refused() -> None:
    async with Upstream() as default, Upstream() as gone:
        others = (target(gone, "gone"),)
        async with running(default.port, others=others) as proxy, await proxy.client() as client:
            await client.send(request(b"{}") + request(b"{}", b"x-sidecar-upstream: gone"))
            peer = await default.accept()
            await peer.message()
            proxy.proxy.apply(Settings(upstream=Origin("http", "127.0.0.1", default.port)))
            await peer.send(answer(b"1"))
            assert (await client.message())[2] == b"1"
            assert (await client.message())[1][b"x-sidecar-error"] == b"unknown_upstream"


async def test_retired_pools_are_forgotten_once_they_are_empty() -> None:
    async with Upstream(echo(answer(b"1"))) as upstream, running(upstream.port) as running_proxy:
        proxy: Proxy = running_proxy.proxy
        async with await running_proxy.client() as client:
            for limit in range(1, 5):
                await ask(client, b"/")
                await becomes(lambda: proxy.in_flight == 0)
                settings = Settings(upstream=Origin("http", "127.0.0.1", upstream.port), limits=Limits(in_flight=limit))
                proxy.apply(settings)
                assert len(proxy._retired) <= 1
