"""Which event loop the proxy runs on: uvloop where there is one, asyncio's elsewhere."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make a new event loop, the fastest there is here."""
    try:
        import uvloop  # noqa: PLC0415  # not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
