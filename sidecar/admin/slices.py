"""Long work in slices, between which the event loop goes on: a page may take longer to make than a chunk may wait.

A thread would not do: it takes the interpreter for 5 ms at a time.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final

SLICE_SECONDS: Final = 0.000_25
"""How long the loop is held up at once."""
_PART_BYTES: Final = 64 * 1024


async def in_slices(pieces: Iterable[bytes]) -> list[bytes]:
    """Put the pieces together to larger parts."""
    parts: list[bytes] = []
    held: list[bytes] = []
    size = 0
    await asyncio.sleep(0)  # reading the request, and choosing what answers it, was a slice already
    due = time.perf_counter() + SLICE_SECONDS
    for piece in pieces:
        if piece:
            held.append(piece)
            size += len(piece)
            if size >= _PART_BYTES:
                parts.append(b"".join(held))
                held.clear()
                size = 0
        if time.perf_counter() >= due:
            await asyncio.sleep(0)
            due = time.perf_counter() + SLICE_SECONDS
    parts.append(b"".join(held))
    return parts


async def one_by_one(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Give the parts out; the loop goes on in between."""
    for part in parts:
        yield part
        await asyncio.sleep(0)
