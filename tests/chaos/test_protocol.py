"""HTTP/1.1 as the server speaks it, with clients that are odd, slow, wrong or hostile."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.chaos import Chaos, End, chaos_server
from sidecar.chaos.protocol import Connection

if TYPE_CHECKING:
    from tests.chaos import wire
else:
    _spec = util.spec_from_file_location("chaos_wire", Path(__file__).with_name("wire.py"))
    wire = util.module_from_spec(_spec)
    _spec.loader.exec_module(wire)


@pytest.fixture(scope="module")
def chaos() -> Iterator[Chaos]:
    with chaos_server() as running:
        yield running


def _error(data: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(data)
    assert body["type"] == "error"
    error: dict[str, Any] = body["error"]
    return error


def test_a_connection_is_kept_for_the_next_request(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        for _ in range(3):
            raw.send(wire.post(wire.HELLO))
            status, headers, _ = raw.answer()
            assert (status, headers["connection"]) == (200, "keep-alive")


def test_a_stream_leaves_its_connection_open_too(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        for _ in range(2):
            raw.send(wire.post({**wire.HELLO, "stream": True}))
            status, headers, body = raw.answer()
            assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            assert body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


def test_connection_close_is_obeyed(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.post(wire.HELLO, headers=wire.KEYS + "connection: close\r\n"))
        status, headers, _ = raw.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert raw.closed()


@pytest.mark.parametrize("fault", ["ok", "truncate-clean"])
@pytest.mark.parametrize("stream", [False, True])
def test_http_1_0_gets_a_body_that_ends_with_the_connection(chaos: Chaos, fault: str, stream: bool) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.post({**wire.HELLO, "stream": stream}, version="1.0", chaos=fault))
        status, headers, body = raw.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert "transfer-encoding" not in headers
        assert body
        assert raw.closed()


def test_requests_sent_ahead_are_answered_in_order(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        faults = ["ok;tokens=4;latency=0.02", "529", "ok;tokens=8"]
        raw.send(b"".join(wire.post(wire.HELLO, chaos=fault) for fault in faults))
        assert [raw.answer()[0] for _ in faults] == [200, 529, 200]


def test_a_client_that_sends_far_ahead_is_cut_off(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.post(wire.HELLO, chaos="hang") * 40)
        assert raw.closed()


def test_expect_100_continue_is_answered_before_the_body(chaos: Chaos) -> None:
    request = wire.post(wire.HELLO, headers=wire.KEYS + "expect: 100-continue\r\n")
    head, _, body = request.partition(b"\r\n\r\n")
    with wire.Raw(chaos) as raw:
        raw.send(head + b"\r\n\r\n")
        assert raw.head()[0] == 100
        raw.send(body)
        assert raw.answer()[0] == 200


def test_a_body_may_come_byte_by_byte_or_in_chunks(chaos: Chaos) -> None:
    data = json.dumps(wire.HELLO).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: h\r\n{wire.KEYS}transfer-encoding: chunked\r\n\r\n".encode()
    with wire.Raw(chaos) as raw:
        raw.send(head + b"%x\r\n" % len(data))
        for byte in data:
            raw.send(bytes([byte]))
        raw.send(b"\r\n0\r\n\r\n")
        assert raw.answer()[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status", "error_type"),
    [
        pytest.param(wire.get("/v1/models"), 200, None, id="models"),
        pytest.param(wire.get("/v1/models?limit=3"), 200, None, id="query"),
        pytest.param(wire.get("/v1/models", headers=""), 401, "authentication_error", id="no key"),
        pytest.param(
            wire.get("/v1/models", headers="authorization: Bearer t\r\nanthropic-version: 1\r\n"),
            200,
            None,
            id="bearer",
        ),
        pytest.param(
            wire.get("/v1/models", headers="authorization: Basic x\r\n"), 401, "authentication_error", id="basic"
        ),
        pytest.param(wire.get("/v1/models", headers="x-api-key: k\r\n"), 400, "invalid_request_error", id="no version"),
        pytest.param(wire.get("/v1/nothing"), 404, "not_found_error", id="unknown path"),
        pytest.param(wire.get("/v1/messages/batches/a/b/c"), 404, "not_found_error", id="unknown below batches"),
        pytest.param(wire.get("/messages"), 404, "not_found_error", id="without v1"),
        pytest.param(wire.get("/v1/messages"), 405, "invalid_request_error", id="wrong method"),
        pytest.param(wire.get("/v1/models", method="PATCH"), 405, "invalid_request_error", id="patch"),
        pytest.param(wire.get("/chaos/nothing"), 404, "not_found_error", id="unknown page"),
        pytest.param(wire.get("/chaos/reset"), 405, "invalid_request_error", id="page's method"),
        pytest.param(wire.get("/chaos/truth?since=x"), 400, "invalid_request_error", id="page's query"),
        pytest.param(wire.get("/chaos/truth?colour=1"), 400, "invalid_request_error", id="page's query's key"),
        pytest.param(wire.post(b"stall;when=1", path="/chaos/next"), 400, "invalid_request_error", id="page's body"),
        pytest.param(wire.post(b"{", path="/v1/messages"), 400, "invalid_request_error", id="no JSON"),
        pytest.param(wire.post(b"[" * 100_000), 400, "invalid_request_error", id="deep JSON"),
        pytest.param(wire.post(b"[]", path="/v1/messages"), 400, "invalid_request_error", id="no object"),
        pytest.param(wire.post(b"", path="/v1/messages/count_tokens"), 400, "invalid_request_error", id="no body"),
        pytest.param(
            wire.post(b"{}", path="/v1/messages/count_tokens"), 400, "invalid_request_error", id="empty count"
        ),
        pytest.param(wire.post(b"x", path="/v1/messages/batches"), 400, "invalid_request_error", id="batch's JSON"),
        pytest.param(wire.post(wire.HELLO, chaos="oops"), 400, "invalid_request_error", id="unknown fault"),
    ],
)
def test_a_request_gets_the_apis_answer(
    chaos: Chaos, request_bytes: bytes, status: int, error_type: str | None
) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(request_bytes)
        found, _, body = raw.answer()
        assert found == status
        assert (_error(body)["type"] if status >= 400 else None) == error_type


def test_a_wrong_method_is_told_the_right_ones(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.get("/v1/messages/batches", method="PUT"))
        assert raw.answer()[1]["allow"] == "GET, POST"


@pytest.mark.parametrize("path", ["/v1/models", "/chaos", "/v1/nothing"])
@pytest.mark.parametrize("fault", ["ok", "truncate-clean", "malformed-json"])
def test_head_gets_the_headers_alone(chaos: Chaos, path: str, fault: str) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.get(path, method="HEAD", headers=f"{wire.KEYS}x-chaos: {fault}\r\n"))
        raw.send(wire.get("/v1/models"))
        status, headers, _ = raw.answer(body=False)
        assert int(headers["content-length"]) > 0
        assert status == (404 if "nothing" in path else 200)
        assert raw.answer()[0] == 200


@pytest.mark.parametrize(
    ("accepts", "zipped"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("br", False), ("identity", False)],
)
def test_json_is_compressed_for_who_accepts_it(chaos: Chaos, accepts: str, zipped: bool) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.get("/v1/models", headers=f"{wire.KEYS}accept-encoding: {accepts}\r\n"))
        _, headers, body = raw.answer()
        assert headers.get("content-encoding") == ("gzip" if zipped else None)
        assert json.loads(gzip.decompress(body) if zipped else body)["data"]


def test_a_stream_is_compressed_only_when_forced_to_and_then_event_by_event(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        request = {**wire.HELLO, "stream": True}
        raw.send(wire.post(request, headers=wire.KEYS + "accept-encoding: gzip\r\n"))
        _, headers, plain = raw.answer()
        assert "content-encoding" not in headers
        raw.send(wire.post(request, chaos="ok;gzip-sse"))
        _, headers, body = raw.answer()
        assert headers["content-encoding"] == "gzip"
        assert len(gzip.decompress(body).split(b"\n\n")) == len(plain.split(b"\n\n"))


@pytest.mark.parametrize("fault", ["error-event;after=2", "truncate-clean;after=2", "drip;bytes=100;s=0"])
def test_a_compressed_stream_can_have_faults_too(chaos: Chaos, fault: str) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.post({**wire.HELLO, "stream": True}, chaos=f"{fault};gzip-sse"))
        text = zlib.decompressobj(31).decompress(raw.answer()[2])
        assert text.count(b"event: content_block_delta") == (10 if "drip" in fault else 2)
        assert (b"event: error" in text) == ("error" in fault)


def test_the_headers_of_an_answer_are_the_apis(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.post(wire.HELLO))
        _, headers, _ = raw.answer()
        assert headers["request-id"].startswith("req_")
        assert headers["anthropic-organization-id"]
        for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
            prefix = f"anthropic-ratelimit-{kind}"
            assert 0 <= int(headers[f"{prefix}-remaining"]) < int(headers[f"{prefix}-limit"])
            assert headers[f"{prefix}-reset"].endswith(":00Z")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc",
    ],
)
def test_what_is_not_http_gets_a_400_and_is_cut_off(chaos: Chaos, garbage: bytes) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(garbage)
        status, _, body = raw.answer()
        assert (status, _error(body)["type"]) == (400, "invalid_request_error")
        assert raw.closed()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n", 414, id="target"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"x-filler: " + b"y" * 70_000 + b"\r\n\r\n", 431, id="one header"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % i for i in range(9_000)), 431, id="headers"),
        pytest.param(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 33554433\r\n\r\n", 413, id="length"),
        pytest.param(
            b"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2000001\r\n" + b"z" * 33_554_433,
            413,
            id="body",
        ),
    ],
)
def test_too_much_is_refused_before_it_is_all_here(chaos: Chaos, request_bytes: bytes, status: int) -> None:
    with wire.Raw(chaos) as raw:
        try:
            raw.send(request_bytes)
            found, _, body = raw.answer()
        except (ConnectionError, IndexError):
            return  # it was cut off while still sending
        assert (found, _error(body)["type"][:7]) == (status, "request" if status == 413 else "invalid")


class _Sink(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.written += b"closed"


@pytest.mark.parametrize("latency", ["0", "0.05"])
async def test_a_large_request_may_arrive_in_one_read(latency: str) -> None:
    """Its body is no head: a reader that gets everything at once must not take the one for the other."""
    large = {**wire.HELLO, "messages": [{"role": "user", "content": "x" * 150_000}]}
    async with chaos_server() as chaos:
        transport, connection = _Sink(), Connection(chaos._server)
        connection.connection_made(transport)
        for count in (1, 2):
            connection.data_received(wire.post(large, chaos=f"ok;latency={latency}"))
            attempts = await chaos.settled(count)
            assert attempts[-1].end is End.COMPLETE
        assert transport.written.count(b"HTTP/1.1 200 OK") == 2
        assert b"closed" not in transport.written
        connection.connection_lost(None)


def test_an_upgrade_is_answered_as_if_it_had_not_been_offered(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.get("/v1/models", headers=f"{wire.KEYS}connection: upgrade\r\nupgrade: websocket\r\n"))
        assert raw.answer()[0] == 200
        assert raw.closed()


def test_a_client_that_leaves_is_written_down(chaos: Chaos) -> None:
    chaos.reset()
    with wire.Raw(chaos) as raw:
        raw.send(wire.post({**wire.HELLO, "stream": True}, chaos="stall;after=2"))
        raw.head()
    (attempt,) = chaos.settled(1)
    assert (attempt.end, attempt.events, attempt.status) == (End.CLIENT_LEFT, 2, 200)


def test_a_client_that_does_not_read_holds_its_answer_up_and_loses_nothing(chaos: Chaos) -> None:
    with wire.Raw(chaos) as raw:
        raw.send(wire.post({**wire.HELLO, "stream": True, "max_tokens": 1_000_000}, chaos="ok;tokens=400000"))
        waiting = wire.get("/chaos")
        with wire.Raw(chaos) as other:  # the server goes on serving others meanwhile
            other.send(waiting)
            assert other.answer()[0] == 200
        assert raw.answer()[2].count(b"event: content_block_delta") == 100_000


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["tool", "enabled"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "name", "input_schema", "properties", "enum", "schema"]), inner)
    ),
    max_leaves=6,
)
_FIELDS = ["model", "max_tokens", "messages", "stream", "tools", "tool_choice", "thinking", "output_config"]


@given(st.dictionaries(st.sampled_from([*_FIELDS, "stop_sequences", "temperature"]), _JSON), st.booleans())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_answered_or_refused(chaos: Chaos, change: dict[str, Any], batch: bool) -> None:
    body: Any = {**wire.HELLO, **change}
    path = "/v1/messages"
    if batch:
        path, body = "/v1/messages/batches", {"requests": [{"custom_id": "a", "params": body}]}
    with wire.Raw(chaos) as raw:
        raw.send(wire.post(body, path=path, chaos="ok;stop=stop_sequence;tokens=4"))
        assert raw.answer()[0] in {200, 400, 404}


def test_a_fault_of_the_servers_own_is_a_500_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with chaos_server() as own, wire.Raw(own) as raw:
        monkeypatch.setattr("sidecar.chaos.endpoints.compose", None)
        raw.send(wire.post(wire.HELLO))
        status, _, body = raw.answer()
        assert (status, _error(body)["type"]) == (500, "api_error")
    assert "could not answer a request" in caplog.text


@given(st.lists(st.binary(max_size=200), max_size=4))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_at_all_stop_the_server(chaos: Chaos, pieces: list[bytes]) -> None:
    with wire.Raw(chaos) as raw:
        try:
            for piece in pieces:
                raw.send(piece)
        except ConnectionError:
            pass
    with wire.Raw(chaos) as raw:
        raw.send(wire.get("/v1/models"))
        assert raw.answer()[0] == 200
