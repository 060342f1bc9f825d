"""Raw requests, for what an SDK would never send."""

import json
import socket
from typing import Any, Self

from sidecar.chaos import Chaos

HELLO = {"model": "claude-sonnet-5", "max_tokens": 1_000, "messages": [{"role": "user", "content": "Hello"}]}
KEYS = "x-api-key: any\r\nanthropic-version: 2023-06-01\r\n"


def post(body: Any, *, chaos: str = "", headers: str = KEYS, path: str = "/v1/messages", version: str = "1.1") -> bytes:
    """Write a POST."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    extra = f"x-chaos: {chaos}\r\n" if chaos else ""
    return (
        f"POST {path} HTTP/{version}\r\nhost: h\r\n{headers}{extra}content-length: {len(data)}\r\n\r\n".encode() + data
    )


def get(path: str, *, method: str = "GET", headers: str = KEYS) -> bytes:
    """Write a request without a body."""
    return f"{method} {path} HTTP/1.1\r\nhost: h\r\n{headers}\r\n".encode()


class Raw:
    """A connection that reads whole answers."""

    def __init__(self, chaos: Chaos) -> None:
        self.sock = socket.create_connection(chaos.address, timeout=5)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read status and headers."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return status, headers

    def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Read one whole answer."""
        status, headers = self.head()
        if not body:
            return status, headers, b""
        if "content-length" in headers:
            return status, headers, self.file.read(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return status, headers, self.file.read()
        chunks = []
        while size := int(self.file.readline(), 16):
            chunks.append(self.file.read(size))
            assert self.file.readline() == b"\r\n"
        assert self.file.readline() == b"\r\n"
        return status, headers, b"".join(chunks)

    def closed(self) -> bool:
        """Tell whether the server has closed the connection, once all it sent is read."""
        return self.file.read() == b""
