"""What a request's path says of itself: the API's own routes, and the shapes that clouds give them.

An unknown path is no fault: it passes, and its endpoint is ``other``.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from sidecar.model import endpoint_of

_MAX_MODEL: Final = 256

# Model ids may hold a colon, percent-encoded or not; ARNs hold slashes, which are always encoded.
_BEDROCK: Final = re.compile(r"/model/([^/]+)/(invoke|invoke-with-response-stream|count-tokens)")
_VERTEX: Final = re.compile(
    r"(?:/v1)?/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/([^/:]+):(rawPredict|streamRawPredict)"
)
_COUNT_TOKENS: Final = "messages.count_tokens"


class Shape(StrEnum):
    """How an upstream's paths are built."""

    ANTHROPIC = "anthropic"
    BEDROCK = "bedrock"
    VERTEX = "vertex"


class Told(NamedTuple):
    """What a path tells. The body is asked for the model where this is empty."""

    endpoint: str
    model: str = ""
    stream: bool = False


@lru_cache(maxsize=256)
def read_path(shape: Shape, target: bytes) -> Told:
    """Read a request's target."""
    text = target.decode("latin-1")
    return _READERS[shape](text.partition("?")[0]) or Told(endpoint_of(text))


def _bedrock(path: str) -> Told | None:
    found = _BEDROCK.fullmatch(path)
    if found is None:
        return None
    endpoint = _COUNT_TOKENS if found[2] == "count-tokens" else "messages"
    return Told(endpoint, _model(found[1]), found[2] == "invoke-with-response-stream")


def _vertex(path: str) -> Told | None:
    found = _VERTEX.fullmatch(path)
    if found is None:
        return None
    if found[1] == "count-tokens":  # Vertex has it as a model; the real one stands in the body
        return Told(_COUNT_TOKENS)
    return Told("messages", _model(found[1]), found[2] == "streamRawPredict")


def _model(text: str) -> str:
    name = unquote(text)
    return name if len(name) <= _MAX_MODEL and name.isprintable() else ""


_READERS: Final[dict[Shape, Callable[[str], Told | None]]] = {
    Shape.ANTHROPIC: lambda _: None,
    Shape.BEDROCK: _bedrock,
    Shape.VERTEX: _vertex,
}
