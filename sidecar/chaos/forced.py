"""The fault a request asks for itself, by its `x-chaos` header and by which attempt of its call it is."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from sidecar.chaos.faults import Fault, FaultSpec, parse_sequence
from sidecar.chaos.http import Request

__all__ = ["Forced", "retry_count"]

_MAX_REMEMBERED: Final = 10_000
_parse = lru_cache(maxsize=512)(parse_sequence)


def retry_count(request: Request) -> int | None:
    """Read which attempt of its call a request says it is: 0 for the first; None when it does not say."""
    text = request.headers.get("x-stainless-retry-count", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else None  # noqa: PLR2004  # a sane count


class Forced:
    """Remembers the faults that were queued, and the attempts of clients that do not count theirs."""

    def __init__(self) -> None:
        self._queue: deque[FaultSpec] = deque()
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def enqueue(self, faults: Iterable[FaultSpec]) -> None:
        """Give these faults to the next requests that do not ask for one themselves."""
        self._queue.extend(faults)

    def clear(self) -> None:
        """Forget what was queued and seen."""
        self._queue.clear()
        self._seen.clear()

    def of(self, request: Request) -> FaultSpec | None:
        """Find the fault a request asks for; raise FaultError for one that cannot be."""
        text = request.headers.get("x-chaos")
        if text is None:
            return self._queue.popleft() if self._queue else None
        sequence = _parse(text)
        if len(sequence) == 1:
            return sequence[0]
        count = retry_count(request)
        if count is None:
            count = self._counted(text, request, sequence)
        return sequence[min(count, len(sequence) - 1)]

    def _counted(self, text: str, request: Request, sequence: tuple[FaultSpec, ...]) -> int:
        """Count requests that are byte for byte the same; from an ``ok`` on, the next one is a new call's first."""
        key = blake2b(b"\0".join([text.encode(), request.path.encode(), request.body]), digest_size=16).digest()
        count = self._seen.pop(key, 0)
        if count < len(sequence) - 1 or sequence[-1].fault is not Fault.OK:
            self._seen[key] = min(count + 1, len(sequence))
        if len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return count
