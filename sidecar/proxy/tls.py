"""TLS towards the upstream: certificates verified against the system's store, sessions taken up again."""

import ssl
from contextlib import suppress
from typing import Any, Final, cast

_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 128 * 1024
"""Where glibc's own setting begins, and stays once it is set."""


class _Connection(ssl.SSLObject):
    """The TLS of one connection."""

    offered: ssl.SSLSession | None = None
    """The session that it asked the server to take up."""


class ResumingContext(ssl.SSLContext):
    """A client's context that offers the session of a connection before.

    asyncio and uvloop make their TLS objects through ``wrap_bio`` and leave no other way to hand a session in.
    """

    sslobject_class = _Connection
    session: ssl.SSLSession | None = None

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Make the TLS object of one connection."""
        if self.session is not None:
            kwargs["session"] = self.session
        tls = cast("_Connection", super().wrap_bio(*args, **kwargs))
        tls.offered = self.session
        return tls

    def answered(self, tls: ssl.SSLObject) -> None:
        """Take note of a connection's first answer: TLS 1.3 has a session only after the first bytes of it.

        One session is offered for as long as the server takes it up: a copy holds the server's certificate, read and
        all, and connections that were offered copies of their own would hold 13 KB more each.
        """
        if cast("_Connection", tls).offered is self.session and not tls.session_reused:
            self.session = tls.session
        # For reading the server's tickets OpenSSL takes a buffer for writing too, and holds its 17 KB until the next
        # write is over; for a stream that is its end.
        with suppress(ssl.SSLError):
            tls.write(b"")


def client_context(ca_file: str | None = None) -> ResumingContext:
    """Make the context for one upstream: verified, HTTP/1.1 only, TLS 1.2 or later."""
    _keep_large_buffers_apart()
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=ca_file)
    return context


def _keep_large_buffers_apart() -> None:
    # uvloop has a buffer of 256 KB for each connection over TLS, and touches a page or two of it. Once the first has
    # been freed, glibc takes such large pieces out of its heap, in among small ones: that cost 10 MB at 1,000 streams.
    import ctypes  # noqa: PLC0415  # only TLS needs it

    with suppress(AttributeError):  # other C libraries have no such setting
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
