"""The ``anthropic-ratelimit-*`` response headers as records. A header that cannot be read is left out."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from sidecar.model.records import RateLimit
from sidecar.model.vocabulary import LimitKind

_MAX_NUMBER: Final = 18
_MAX_TIMESTAMP: Final = 40


def _named(kind: LimitKind, field: str) -> bytes:
    return f"anthropic-ratelimit-{kind.replace('_', '-')}-{field}".encode()


# The API also names other kinds; they are not in the contract.
_KINDS: Final = tuple(
    (kind, _named(kind, "limit"), _named(kind, "remaining"), _named(kind, "reset")) for kind in LimitKind
)


def parse_rate_limits(headers: Mapping[bytes, bytes]) -> tuple[RateLimit, ...]:
    """Read the headers of a response, whose names are lower-case; one record for each kind that is told of."""
    found = []
    get = headers.get
    for kind, limit_name, remaining_name, reset_name in _KINDS:
        limit, remaining, reset = get(limit_name), get(remaining_name), get(reset_name)
        if limit is None and remaining is None and reset is None:
            continue
        record = RateLimit(
            kind=kind,
            limit=_number(limit),
            remaining=_number(remaining),
            reset_at=None if reset is None else parse_timestamp(reset),
        )
        if record.limit is not None or record.remaining is not None or record.reset_at is not None:
            found.append(record)
    return tuple(found)


@lru_cache(maxsize=64)  # within a second every answer carries the same few
def parse_timestamp(value: bytes) -> float | None:
    """Read an RFC 3339 time as Unix seconds; without an offset it is taken as UTC."""
    if len(value) > _MAX_TIMESTAMP:
        return None
    try:
        time = datetime.fromisoformat(value.decode("ascii").strip())
    except ValueError:
        return None
    seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return seconds if seconds >= 0 else None


def _number(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) <= _MAX_NUMBER else None
