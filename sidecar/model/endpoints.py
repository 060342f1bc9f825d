"""Route names: what the label ``endpoint`` may say, and how a request's path becomes one.

A path is never a label value: it may hold ids, and a caller can invent paths without end.
"""

from typing import Final

OTHER: Final = "other"

_FIXED: Final = {
    "messages": "messages",
    "messages/count_tokens": "messages.count_tokens",
    "messages/batches": "messages.batches",
    "complete": "complete",
    "models": "models",
    "files": "files",
    "skills": "skills",
}
# What follows an id: {collection: {suffix: name}}. The empty suffix is the item itself.
_ITEMS: Final = {
    "messages/batches": {"": "messages.batches", "results": "messages.batches.results", "cancel": "messages.batches"},
    "models": {"": "models"},
    "files": {"": "files", "content": "files.content"},
    "skills": {"": "skills", "versions": "skills"},
}

_NAMES = {*_FIXED.values(), *(name for suffixes in _ITEMS.values() for name in suffixes.values())}
ENDPOINTS: Final = (*sorted(_NAMES), OTHER)


def endpoint_of(path: str) -> str:
    """Name the route of a request path, with or without ``/v1``, query string or trailing slash."""
    route = path.partition("?")[0].strip("/").removeprefix("v1/")
    if route in _FIXED:
        return _FIXED[route]
    for collection, suffixes in _ITEMS.items():
        if route.startswith(collection + "/"):
            _, _, suffix = route[len(collection) + 1 :].partition("/")
            return suffixes.get(suffix, OTHER)
    return OTHER
