"""TLS towards the upstream: certificates verified against the system's store, sessions taken up again."""

import ssl
from typing import Any


class ResumingContext(ssl.SSLContext):
    """A client's context that offers the session of the connection before.

    asyncio and uvloop make their TLS objects through ``wrap_bio`` and leave no other way to hand a session in.
    """

    session: ssl.SSLSession | None = None

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Make the TLS object of one connection."""
        if self.session is not None:
            kwargs["session"] = self.session
        return super().wrap_bio(*args, **kwargs)

    def remember(self, tls: ssl.SSLObject | None) -> None:
        """Keep a connection's session for the next; TLS 1.3 has one only after the first bytes of an answer."""
        if tls is not None and tls.session is not None:
            self.session = tls.session


def client_context(ca_file: str | None = None) -> ResumingContext:
    """Make the context for one upstream: verified, HTTP/1.1 only, TLS 1.2 or later."""
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=ca_file)
    return context
