"""The end of a proxy in good order, and a line of log about what could not end by itself."""

import logging

from sidecar.proxy.server import Proxy


async def drain(proxy: Proxy, seconds: float) -> None:
    """Let what is under way end, for so long; then cut it off, and say so."""
    cut = await proxy.drain(seconds)
    if cut:
        fields = {"connections": cut, "after_seconds": seconds}
        logging.getLogger("sidecar.proxy").warning("connections were cut off", extra={"fields": fields})
